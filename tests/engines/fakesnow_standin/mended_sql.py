"""What fakesnow's SQL lacks or says otherwise than Snowflake, mended inside its process."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import duckdb
import fakesnow.cursor as cursor
import pyarrow as pa
import pyarrow.compute as pc
from fakesnow import arrow, transforms
from fakesnow.instance import FakeSnow
from sqlglot import exp

grants: dict[tuple[str, ...], list[tuple[str, str, str, bool]]] = {}  # table ► (privilege, kind, grantee, option)
_GRANT = re.compile(
    r"GRANT (.+?) ON (TABLE|VIEW) (\S+) TO (DATABASE ROLE|ROLE) (\S+)( WITH GRANT OPTION)?\s*$", re.IGNORECASE
)
_SHOW_GRANTS = re.compile(r"SHOW GRANTS ON TABLE (\S+)\s*$", re.IGNORECASE)
_PART = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')
_REPLACES = re.compile(r"CREATE OR REPLACE TABLE (\S+) (?:CLONE (\S+))?", re.IGNORECASE)


def install() -> None:
    """Patch fakesnow."""
    plain_execute = cursor.FakeSnowflakeCursor.execute
    plain_transform = cursor.FakeSnowflakeCursor._transform

    def execute(self: Any, command: str, params: Any = None, *args: Any, **kwargs: Any) -> Any:
        return plain_execute(self, _special(self, command), params, *args, **kwargs)

    def transform(self: Any, expression: exp.Expr, params: Any) -> exp.Expr:
        return _mended(plain_transform(self, _prepared(expression), params))

    plain_connect = FakeSnow.connect

    def connect(self: Any, *args: Any, **kwargs: Any) -> Any:
        connection = plain_connect(self, *args, **kwargs)
        connection._duck_conn.execute(_MACROS + _json_macro())
        return connection

    FakeSnow.connect = connect
    cursor.FakeSnowflakeCursor.execute = execute
    cursor.FakeSnowflakeCursor._transform = transform
    arrow.timestamp_to_sf_struct = _instants
    transforms.create_clone = _clone
    transforms.numeric_agg_implicit_cast = lambda tree: tree  # sums of whole numbers would pass through a double


def _parts(conn: Any, name: str) -> tuple[str, ...]:
    found = [m[1].replace('""', '"') if m[1] is not None else m[2].upper() for m in _PART.finditer(name)]
    return tuple([conn.database, *found][-3:])


def _special(self: Any, command: str) -> str:
    """Statements about rights, which fakesnow knows nothing of; DDL commits an open transaction."""
    conn = self._conn
    if re.search(r"SYSTEM\$(WAIT|CANCEL_ALL_QUERIES)\(", command, re.IGNORECASE):
        return "SELECT 'done' AS answer"
    granted = _GRANT.match(command)
    if granted:
        privilege, _, table, kind, grantee, option = granted.groups()
        row = (privilege.upper(), kind.upper().replace(" ", "_"), grantee.strip('"'), bool(option))
        grants.setdefault(_parts(conn, table), []).append(row)
        return "SELECT 'Statement executed successfully.' AS status"
    asked = _SHOW_GRANTS.match(command)
    if asked:
        return _shown(grants.get(_parts(conn, asked[1]), []))
    replaced = _REPLACES.match(command)
    if replaced:
        target = _parts(conn, replaced[1])
        source = _parts(conn, replaced[2]) if replaced[2] else target
        # the manual has COPY GRANTS of a clone take the rights of the table that is cloned
        grants[target] = list(grants.get(source, [])) if re.search(r"\bCOPY GRANTS\b", command[:500]) else []
        if replaced[2]:
            command = re.sub(r" COPY GRANTS\s*$", "", command)
    elif re.match(r"DROP TABLE", command, re.IGNORECASE):
        grants.pop(_parts(conn, command.split()[-1]), None)
    if re.match(r"\s*(CREATE|DROP|ALTER|GRANT)\b", command, re.IGNORECASE):
        with contextlib.suppress(duckdb.TransactionException):  # none was open
            conn._duck_conn.execute("COMMIT")
    return command


def _shown(rows: list[tuple[str, str, str, bool]]) -> str:
    owner = ("OWNERSHIP", "ROLE", "CDP", True)
    selects = [
        f"SELECT '{privilege}' AS \"privilege\", '{kind}' AS \"granted_to\", '{grantee}' AS \"grantee_name\","
        f" '{str(option).lower()}' AS \"grant_option\""
        for privilege, kind, grantee, option in [owner, *rows]
    ]
    return " UNION ALL ".join(selects)


def _clone(expression: exp.Expr) -> exp.Expr:
    """As fakesnow's own, which forgets OR REPLACE."""
    clone = expression.args.get("clone") if isinstance(expression, exp.Create) else None
    if clone is None:
        return expression
    select = exp.Select(expressions=[exp.Star()], from_=exp.From(this=clone.this))
    return exp.Create(this=expression.this, kind="TABLE", replace=expression.args.get("replace"), expression=select)


def _instants(values: Any) -> Any:
    """As fakesnow's own, with NULLs where the client looks for them: in the struct, not in its parts."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    nothing = pc.is_null(values)
    pairs = [divmod(value, 1_000_000) for value in pc.fill_null(values.cast(pa.int64()), 0).to_pylist()]
    parts = [pa.array([second for second, _ in pairs], pa.int64())]
    parts.append(pa.array([rest * 1000 for _, rest in pairs], pa.int32()))
    fields = [pa.field("epoch", pa.int64(), nullable=False), pa.field("fraction", pa.int32(), nullable=False)]
    if values.type.tz:
        parts.append(pa.array([1440] * len(values), type=pa.int32()))
        fields.append(pa.field("timezone", pa.int32(), nullable=False))
    return pa.StructArray.from_arrays(parts, fields=fields, mask=nothing)


def _prepared(tree: exp.Expr) -> exp.Expr:
    """Before fakesnow's own rewriting: what it, or sqlglot, would carry over wrongly becomes a call of a macro."""
    for property_ in list(tree.find_all(exp.CopyGrantsProperty)):
        holder = property_.parent
        property_.pop()
        if isinstance(holder, exp.Properties) and not holder.expressions:
            holder.pop()
    for node in reversed(list(tree.walk())):  # what is inside first
        made = _call(node)
        if made is not node:
            node.replace(made)
    return tree


def _call(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Cast) and node.to.is_type("varchar", "text"):
        held = node.this
        if isinstance(held, exp.Cast) and held.to.is_type("variant"):
            return _made("cdp_text", _made("to_json", held.this))
        if isinstance(held, exp.GetExtract | exp.ParseJSON) or held.name in ("cdp_get", "cdp_at"):
            return _made("cdp_text", held)
    if isinstance(node, exp.GetExtract):
        return _made("cdp_at" if node.expression.is_int else "cdp_get", node.this, node.expression)
    if isinstance(node, exp.TimeToStr) and '"' in node.args["format"].name:
        node.set("format", exp.Literal.string(node.args["format"].name.replace('"', "")))
    if isinstance(node, exp.ToNumber) and node.args.get("format") is not None:
        return _made("cdp_hex", node.this)
    if isinstance(node, exp.RegexpReplace):
        flags = exp.Literal.string("g" + (node.args["modifiers"].name if node.args.get("modifiers") else ""))
        return _made("regexp_replace", node.this, node.expression, node.args["replacement"], flags)
    if isinstance(node, exp.ArrayContains):
        return _made("cdp_contains", node.this, node.expression)
    if isinstance(node, exp.JSONFormat) and isinstance(node.this, exp.ToVariant):
        return _made("cdp_json", node.this.this)
    if isinstance(node, exp.Trim) and node.args.get("position") == "TRAILING" and node.expression is not None:
        return _made("rtrim", node.this, node.expression)
    return node


def _made(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


_MACROS = r"""
CREATE OR REPLACE TEMP MACRO cdp_get(document, key) AS
  json_extract(CAST(document AS JSON), '/' || replace(replace(key, '~', '~0'), '/', '~1'));
CREATE OR REPLACE TEMP MACRO cdp_at(document, place) AS json_extract(CAST(document AS JSON), CAST(place AS BIGINT));
CREATE OR REPLACE TEMP MACRO cdp_text(document) AS CASE json_type(CAST(document AS JSON))
  WHEN 'VARCHAR' THEN json_extract_string(CAST(document AS JSON), '$') WHEN 'NULL' THEN NULL
  ELSE CAST(document AS VARCHAR) END;
CREATE OR REPLACE TEMP MACRO cdp_hex(digits) AS CAST('0x' || digits AS BIGINT);
CREATE OR REPLACE TEMP MACRO as_array(document) AS
  CASE WHEN json_type(CAST(document AS JSON)) = 'ARRAY' THEN CAST(document AS JSON) END;
CREATE OR REPLACE TEMP MACRO cdp_contains(list, value) AS
  list_contains(list_transform(CAST(list AS JSON[]), lambda x: CAST(x AS VARCHAR)), CAST(value AS VARCHAR));
CREATE OR REPLACE TEMP MACRO try_to_timestamp_tz(text) AS TRY_CAST(text AS TIMESTAMPTZ);
CREATE OR REPLACE TEMP MACRO try_to_timestamp_ntz(text) AS TRY_CAST(text AS TIMESTAMP);
"""


def _json_macro() -> str:
    """JSON of a text, its control characters in small hex digits; chr(1) stands for an escaped backslash meanwhile."""
    tree = r"replace(CAST(to_json(text) AS VARCHAR), '\\', chr(1))"
    for code in (0x0B, 0x0E, 0x0F, *range(0x1A, 0x20)):
        tree = f"replace({tree}, '\\u{code:04X}', '\\u{code:04x}')"
    return rf"CREATE OR REPLACE TEMP MACRO cdp_json(text) AS replace({tree}, chr(1), '\\');"


_RESERVED = {
    str(row[0])
    for row in duckdb.sql(
        "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
    ).fetchall()
}


def _mended(tree: exp.Expr) -> exp.Expr:
    """After it: a plain word that is none to DuckDB."""
    for name in tree.find_all(exp.Identifier):
        if name.name.lower() in _RESERVED:
            name.set("quoted", True)
    return tree


def told(code: str, message: str, sql: str) -> tuple[str, str | None, str]:
    """(number, SQL state, message) in Snowflake's words for an error in DuckDB's."""
    compiling = "SQL compilation error:"
    if code == "001003":
        word = (sql.split() or [""])[0]
        return code, "42000", f"{compiling}\nsyntax error line 1 at position 0 unexpected '{word}'."
    column = re.search(
        r'Referenced column "([^"]+)" (?:was )?not found|does not have a column named "([^"]+)"', message
    )
    if column:
        name = column[1] or column[2]
        return "000904", "42000", f"{compiling} error line 1 at position 7\ninvalid identifier '{name}'"
    kind = re.search(r"Existing object (\S+) is of type (\w+), trying to", message)
    if kind:
        return "001998", "42710", f"{compiling}\nObject '{kind[1]}' already exists as {kind[2].upper()}"
    missing = re.search(r"(?:Table|View|Schema) with name \"?([^\" ]+)\"? does not exist", message)
    if missing:
        return "002003", "42S02", f"{compiling}\nObject '{missing[1]}' does not exist or not authorized."
    value = re.search(
        r"(?:convert string|timestamp field value out of range:|date field value out of range:|invalid timestamp field format:|invalid date field format:) ['\"](.*?)['\"](?:[ ,]|$)",
        message,
        re.DOTALL | re.IGNORECASE,
    )
    if value:
        what = (
            "Date" if "date" in message.lower() else "Timestamp" if "timestamp" in message.lower() else "Numeric value"
        )
        number = {"Date": "100040", "Timestamp": "100035"}.get(what, "100038")
        return number, "22007" if what != "Numeric value" else "22018", f"{what} '{value[1]}' is not recognized"
    return code, None, message
