"""Redshift's SQL said to Postgres, by sqlglot; what Redshift's guide says that it lacks is refused.

It proves that statements arrive, fit together and mean on paper what they should. It proves nothing of Redshift's own
arithmetic, JSON and regular expressions: these are Postgres' here.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from cdp.warehouse.functions.patterns import POSTGRES, translated


class Refused(Exception):
    """What Redshift would not take; the message is what it says."""


# c_unsupported-postgresql-features; COPY reads files of S3 only (r_COPY), functions are no plpgsql (r_CREATE_FUNCTION)
_NEVER = re.compile(
    r"\s*(SAVEPOINT|RELEASE|COPY|CREATE\s+(OR\s+REPLACE\s+)?FUNCTION|CREATE\s+(UNIQUE\s+)?INDEX)\b", re.IGNORECASE
)
_PARAMETERS = {
    "timezone",
    "query_group",
    "statement_timeout",
    "datestyle",
    "search_path",
    "enable_case_sensitive_identifier",
}
_AS_IT_IS = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK|CLOSE|GRANT|CREATE\s+SCHEMA|REVOKE)\b", re.IGNORECASE)


def to_postgres(sql: str) -> str:
    """The statement for Postgres; raises Refused."""
    if _NEVER.match(sql):
        raise Refused(f'syntax error at or near "{sql.split()[0]}"')
    if _AS_IT_IS.match(sql):
        return sql
    word = sql.split(None, 1)[0].upper()
    if word == "SET":
        return _set(sql)
    if word == "FETCH":
        found = re.fullmatch(r"FETCH FORWARD (\d+) FROM (\w+)", sql)
        if not found or int(found[1]) > 1000:
            raise Refused("Fetch size exceeds the limit of 1000 for a single node configuration")
        return sql
    declared = re.match(r"DECLARE (\w+) CURSOR FOR ", sql)
    if declared:
        return f"{declared[0]}{_select(sql[declared.end() :])}"
    made = re.match(r'CREATE (TABLE|VIEW) (\S+(?:\."[^"]+")?) AS ', sql)
    if made:
        return _made(made[1], made[2], sql[made.end() :])
    dropped = re.fullmatch(r"DROP (TABLE|VIEW) (\S+)", sql)
    if dropped:
        return f"SELECT rs.drop_bound('{dropped[1]}', $rs${dropped[2]}$rs$)"
    if word == "ALTER":
        return f"{sql}; SELECT rs.bind()"
    return _select(sql)


def _set(sql: str) -> str:
    found = re.fullmatch(r"SET (\w+) TO (.+)", sql)
    if not found or found[1].lower() not in _PARAMETERS:
        raise Refused(f'unrecognized configuration parameter "{sql.split()[1]}"')
    return f"SET cdp.{found[1]} TO {found[2]}" if found[1] == "query_group" else sql


def _made(kind: str, name: str, select: str) -> str:
    if kind == "VIEW":
        if not select.endswith(" WITH NO SCHEMA BINDING"):
            raise Refused("the stand-in knows views without schema binding only")
        return f"CREATE VIEW {name} AS {_select(select.removesuffix(' WITH NO SCHEMA BINDING'))}"
    return f"CREATE TABLE {name} AS {_select(select)}; SELECT rs.bind()"


def _select(sql: str) -> str:
    try:
        tree = parse_one(sql, dialect="redshift")
    except SqlglotError:
        return sql  # Postgres says what it thinks of it
    for node in tree.walk():
        _look(node)
    return _bottom_up(tree).sql(dialect="postgres")


def _bottom_up(node: exp.Expr) -> exp.Expr:
    """With every node said in Postgres' way, children first."""
    for child in list(node.iter_expressions()):
        new = _bottom_up(child)
        if new is not child:
            child.replace(new)
    return _SAID.get(type(node), _same)(node)


def _look(node: exp.Expr) -> None:
    """What the guide names as missing, or as an error."""
    for class_, said in _LACKS.items():
        if isinstance(node, class_):
            raise Refused(said)
    if isinstance(node, exp.With) and node.args.get("recursive"):
        for cte in node.expressions:
            if any(table.name == cte.alias for table in cte.this.find_all(exp.Table)) and not cte.args["alias"].columns:
                raise Refused("a recursive CTE must name its columns")
    if isinstance(node, exp.Select):
        orders = {
            order.sql() for order in map(_sorts_by, node.find_all(exp.Median, exp.WithinGroup)) if order is not None
        }
        if len(orders) > 1 and all(
            scope is node for scope in map(_select_of, node.find_all(exp.Median, exp.WithinGroup))
        ):
            raise Refused("within group ORDER BY clauses for aggregate functions must be the same")


def _select_of(node: exp.Expr) -> exp.Expr | None:
    return node.find_ancestor(exp.Select)


def _sorts_by(node: exp.Expr) -> exp.Expr | None:
    return node.this if isinstance(node, exp.Median) else node.expression


_LACKS: dict[type[exp.Expr], str] = {
    exp.Filter: "FILTER is not supported",
    exp.ArrayAgg: "array_agg() is a leader-node only function",
    exp.Lateral: "LATERAL is not supported",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM is not supported",
    exp.NullSafeNEQ: "IS DISTINCT FROM is not supported",
    exp.Collate: "COLLATE is not supported here",
    exp.OnConflict: "ON CONFLICT is not supported",
    exp.Returning: "RETURNING is not supported",
}


def _same(node: exp.Expr) -> exp.Expr:
    return node


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _try_cast(node: exp.Expr) -> exp.Expr:
    assert isinstance(node, exp.TryCast)
    kind = {"DOUBLE": "double", "BIGINT": "bigint", "DATE": "date", "DECIMAL": "decimal"}.get(node.to.this.value)
    kind = kind or ("stamptz" if node.to.is_type("timestamptz") else "stamp")
    return _call(f"rs_try_{kind}", node.this)


def _cast(node: exp.Expr) -> exp.Expr:
    assert isinstance(node, exp.Cast)
    if node.to.is_type("varbinary"):
        return exp.cast(node.this, "TEXT")
    return node


def _type(node: exp.Expr) -> exp.Expr:
    assert isinstance(node, exp.DataType)
    sizes = [str(size.this).upper() for size in node.expressions]
    return exp.DataType.build("text") if node.is_type("varchar") and sizes == ["MAX"] else node


def _diff(node: exp.Expr) -> exp.Expr:
    return _call("rs_datediff_us", node.expression, node.this) if _unit(node) == "MICROSECOND" else node


def _add(node: exp.Expr) -> exp.Expr:
    return _call("rs_dateadd_us", node.expression, node.this) if _unit(node) == "MICROSECOND" else node


def _unit(node: exp.Expr) -> str:
    unit = node.args.get("unit")
    return unit.name.upper() if unit is not None else ""


def _round(node: exp.Expr) -> exp.Expr:
    """Postgres has no ROUND(double, n)."""
    if node.args.get("decimals") is not None:
        node.set("this", exp.cast(node.this.copy(), "NUMERIC"))
    return node


def _median(node: exp.Expr) -> exp.Expr:
    order = exp.Order(expressions=[exp.Ordered(this=node.this)])
    return exp.WithinGroup(this=exp.PercentileCont(this=exp.Literal.number("0.5")), expression=order)


def _listed(node: exp.Expr) -> exp.Expr:
    inner = node.this
    if not isinstance(inner, exp.GroupConcat):
        return node
    separator = inner.args.get("separator") or exp.Literal.string("")
    ordered = exp.Order(this=separator.copy(), expressions=[one.copy() for one in node.expression.expressions])
    return exp.Anonymous(
        this="STRING_AGG", expressions=[exp.Nullif(this=inner.this.copy(), expression=exp.Literal.string("")), ordered]
    )


def _instr(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Anonymous):
        value, pattern, *rest = node.expressions
    else:
        value, pattern, *rest = [node.this, node.expression, node.args.get("parameters")]
    if not rest or rest[-1] is None or rest[-1].name != "p":
        raise Refused("the stand-in knows REGEXP_INSTR with the parameter p only")
    return _call("rs_matches", value, _pattern(pattern))


def _replace(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Anonymous):
        value, pattern, replacement, *rest = node.expressions
    else:
        value, pattern, replacement = node.this, node.expression, node.args.get("replacement")
        rest = [one for one in (node.args.get("modifiers"),) if one is not None]
    text = re.sub(r"\$(\d)", lambda found: "\\&" if found[1] == "0" else f"\\{found[1]}", replacement.name)
    told = _pattern(pattern) if rest else pattern
    return _call("REGEXP_REPLACE", value, told, exp.Literal.string(text), exp.Literal.string("g"))


def _pattern(pattern: exp.Expr) -> exp.Expr:
    text = pattern.name if pattern.name.startswith("(?<=") else translated(pattern.name, POSTGRES)[0]
    return exp.Literal.string(text)


def _json_path(node: exp.Expr) -> exp.Expr:
    *keys, null_if_invalid = [node.expression, *node.expressions]
    if not isinstance(null_if_invalid, exp.Boolean) or len(keys) > 5:
        raise Refused("JSON path can be nested up to five levels deep, and the text may be no JSON")
    return _call("rs_json_path", node.this, exp.Array(expressions=keys))  # children are said already


def _named(node: exp.Expr) -> exp.Expr:
    name = str(node.this).upper()
    special: dict[str, Callable[[exp.Expr], exp.Expr]] = {"REGEXP_INSTR": _instr, "REGEXP_REPLACE": _replace}
    if name in special:
        return special[name](node)
    if name == "VERSION":
        return _call("rs_version")
    if name in _OWN:
        return _call(f"rs_{name.lower()}", *node.expressions)
    return node


_OWN = {"JSON_PARSE", "JSON_SERIALIZE", "CAN_JSON_PARSE", "IS_VALID_JSON_ARRAY", "JSON_ARRAY_LENGTH", "ARRAY_CONTAINS"}
_OWN |= {"STRTOL", "TO_HEX", "SHA2", "CONVERT_TIMEZONE", "GETDATE", "ARRAY"}
_SAID: dict[type[exp.Expr], Callable[[exp.Expr], exp.Expr]] = {
    exp.TryCast: _try_cast,
    exp.Round: _round,
    exp.Cast: _cast,
    exp.DataType: _type,
    exp.DateDiff: _diff,
    exp.TsOrDsDiff: _diff,
    exp.DateAdd: _add,
    exp.TsOrDsAdd: _add,
    exp.Median: _median,
    exp.WithinGroup: _listed,
    exp.RegexpInstr: _instr,
    exp.RegexpReplace: _replace,
    exp.Anonymous: _named,
    exp.CurrentTimestamp: lambda node: _call("rs_getdate"),
    exp.CurrentVersion: lambda node: _call("rs_version"),
    exp.SHA2: lambda node: _call("rs_sha2", node.this),
    exp.SHA2Digest: lambda node: _call("rs_sha2", node.this),
    exp.FromBase: lambda node: _call("rs_strtol", node.this),
    exp.ConvertTimezone: lambda node: _call(
        "rs_convert_timezone", node.args["source_tz"], node.args["target_tz"], node.args["timestamp"]
    ),
    exp.ParseJSON: lambda node: _call("rs_json_parse", node.this),
    exp.LowerHex: lambda node: _call("rs_to_hex", node.this),
    exp.Hex: lambda node: _call("rs_to_hex", node.this),
    exp.JSONExtractScalar: _json_path,
    exp.ArrayContains: lambda node: _call("rs_array_contains", node.this, node.expression, exp.true()),
    exp.Array: lambda node: _call("rs_array", *node.expressions),
}

SHIMS = r"""
CREATE SCHEMA rs;
CREATE FUNCTION rs.rs_version() RETURNS text LANGUAGE sql AS
  $$ SELECT 'PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.0' $$;
CREATE FUNCTION rs.rs_getdate() RETURNS timestamp LANGUAGE sql STABLE AS
  $$ SELECT date_trunc('second', clock_timestamp() AT TIME ZONE 'UTC') $$;
CREATE FUNCTION rs.rs_datediff_us(timestamp, timestamp) RETURNS bigint LANGUAGE sql IMMUTABLE AS
  $$ SELECT CAST((extract(epoch FROM $2) - extract(epoch FROM $1)) * 1000000 AS bigint) $$;
CREATE FUNCTION rs.rs_dateadd_us(bigint, timestamp) RETURNS timestamp LANGUAGE sql IMMUTABLE AS
  $$ SELECT $2 + ($1 / 86400000000) * interval '1 day' + ($1 % 86400000000) * interval '1 microsecond' $$;
CREATE FUNCTION rs.rs_convert_timezone(text, text, timestamp) RETURNS timestamp LANGUAGE sql STABLE AS
  $$ SELECT $3 AT TIME ZONE $1 AT TIME ZONE $2 $$;
CREATE FUNCTION rs.rs_sha2(text) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex') $$;
CREATE FUNCTION rs.rs_to_hex(text) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT encode(convert_to($1, 'UTF8'), 'hex') $$;
CREATE FUNCTION rs.rs_matches(text, text) RETURNS int LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN $1 ~ $2 THEN 1 WHEN NOT $1 ~ $2 THEN 0 END $$;
CREATE FUNCTION rs.rs_strtol(text) RETURNS bigint LANGUAGE sql IMMUTABLE AS
  $$ SELECT ('x' || lpad($1, 16, '0'))::bit(64)::bigint $$;
CREATE FUNCTION rs.rs_strtol(text, int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT rs.rs_strtol($1) $$;
CREATE FUNCTION rs.rs_try(kind text, value text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE found text;
BEGIN
  EXECUTE format('SELECT CAST(CAST(%L AS %s) AS text)', value, kind) INTO found;
  RETURN found;
EXCEPTION WHEN data_exception THEN
  RETURN NULL;
END $$;
CREATE FUNCTION rs.rs_try_bigint(text) RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT rs.rs_try('bigint', $1)::bigint $$;
CREATE FUNCTION rs.rs_try_decimal(text) RETURNS numeric(38, 9) LANGUAGE sql STABLE AS
  $$ SELECT rs.rs_try('numeric(38,9)', $1)::numeric(38, 9) $$;
CREATE FUNCTION rs.rs_try_double(text) RETURNS double precision LANGUAGE sql STABLE AS
  $$ SELECT rs.rs_try('double precision', $1)::double precision $$;
CREATE FUNCTION rs.rs_try_date(text) RETURNS date LANGUAGE sql STABLE AS $$ SELECT rs.rs_try('date', $1)::date $$;
CREATE FUNCTION rs.rs_try_stamp(text) RETURNS timestamp LANGUAGE sql STABLE AS
  $$ SELECT rs.rs_try('timestamp', $1)::timestamp $$;
CREATE FUNCTION rs.rs_try_stamptz(text) RETURNS timestamptz LANGUAGE sql STABLE AS
  $$ SELECT rs.rs_try('timestamptz', $1)::timestamptz $$;
CREATE FUNCTION rs.rs_can_json_parse(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  PERFORM $1::json;
  RETURN true;
EXCEPTION WHEN data_exception THEN
  RETURN false;
END $$;
CREATE FUNCTION rs.rs_json_parse(text) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT $1::json $$;
CREATE FUNCTION rs.rs_compact(text) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT regexp_replace($1, '("(?:[^"\\]|\\.)*")|\s+', '\1', 'g') $$;
CREATE FUNCTION rs.rs_json_serialize(json) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT coalesce(rs.rs_compact($1::text), 'null') $$;
CREATE FUNCTION rs.rs_json_serialize(text) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT rs.rs_json_serialize($1::json) $$;
CREATE FUNCTION rs.rs_array(text) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT json_build_array($1) $$;
CREATE FUNCTION rs.rs_is_valid_json_array(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN rs.rs_can_json_parse($1) THEN json_typeof($1::json) = 'array' ELSE false END $$;
CREATE FUNCTION rs.rs_json_array_length(text, boolean) RETURNS int LANGUAGE sql IMMUTABLE AS
  $$ SELECT json_array_length($1::json) $$;
CREATE FUNCTION rs.rs_array_contains(json, json, boolean) RETURNS boolean LANGUAGE sql IMMUTABLE AS
  $$ SELECT EXISTS (SELECT 1 FROM jsonb_array_elements($1::jsonb) AS e(x) WHERE e.x = $2::jsonb) WHERE $1 IS NOT NULL $$;
CREATE FUNCTION rs.rs_json_path(text, text[]) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN rs.rs_can_json_parse($1) AND json_typeof($1::json) = 'object' THEN
       CASE json_typeof($1::json #> $2) WHEN 'number' THEN CASE WHEN $1::json #>> $2 ~ '^-?[0-9]+$' THEN $1::json #>> $2
         ELSE ($1::json #>> $2)::double precision::text END ELSE $1::json #>> $2 END END $$;
CREATE VIEW rs.svv_relation_privileges AS
  SELECT n.nspname AS namespace_name, c.relname AS relation_name, a.privilege_type,
    CASE WHEN a.grantee = 0 THEN 'public' ELSE 'user' END AS identity_type,
    CASE WHEN a.grantee = 0 THEN 'public' ELSE pg_get_userbyid(a.grantee) END AS identity_name, a.is_grantable AS admin_option
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(c.relacl) AS a
  WHERE a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'REFERENCES');
CREATE VIEW rs.svv_all_tables AS
  SELECT table_catalog AS database_name, table_schema AS schema_name, table_name FROM information_schema.tables;
CREATE TABLE rs.unbound (place serial, schema_name text, view_name text, definition text);
CREATE FUNCTION rs.bind() RETURNS void LANGUAGE plpgsql AS $$
DECLARE one record;
BEGIN
  FOR one IN SELECT * FROM rs.unbound ORDER BY place DESC LOOP
    BEGIN
      EXECUTE format('CREATE VIEW %I.%I AS %s', one.schema_name, one.view_name, one.definition);
      DELETE FROM rs.unbound WHERE place = one.place;
    EXCEPTION WHEN undefined_table OR undefined_column OR invalid_schema_name THEN NULL;
      WHEN duplicate_table THEN DELETE FROM rs.unbound WHERE place = one.place;
    END;
  END LOOP;
END $$;
CREATE FUNCTION rs.drop_bound(kind text, name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE one record;
BEGIN
  FOR one IN
    WITH RECURSIVE reader (oid, depth) AS (
      SELECT name::regclass::oid, 0
      UNION SELECT r.ev_class, reader.depth + 1 FROM reader
        JOIN pg_depend AS d ON d.refobjid = reader.oid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> reader.oid)
    SELECT n.nspname, c.relname, pg_get_viewdef(c.oid) AS definition, max(reader.depth) AS depth FROM reader
    JOIN pg_class AS c ON c.oid = reader.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE reader.depth > 0 AND c.relkind = 'v' GROUP BY 1, 2, c.oid ORDER BY 4 DESC
  LOOP
    INSERT INTO rs.unbound (schema_name, view_name, definition) VALUES (one.nspname, one.relname, one.definition);
    EXECUTE format('DROP VIEW %I.%I', one.nspname, one.relname);
  END LOOP;
  EXECUTE format('DROP %s %s', kind, name);
END $$;
GRANT USAGE ON SCHEMA rs TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA rs TO PUBLIC;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA rs TO PUBLIC;
"""
