"""Replacing a Postgres table or view without losing what hangs on its name: rights that were granted on it, and views
of other people that read it. Postgres ties both to the object, not to the name, and refuses to drop what is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cdp.errors import StatementError
from cdp.warehouse.names import identifier

Ask = Callable[[str, Sequence[object]], list[tuple[object, ...]]]
Run = Callable[[str], object]

_GRANTS = """
SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable
FROM pg_catalog.pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.oid = %s AND a.grantee <> c.relowner
"""
_VIEWS = """
WITH RECURSIVE reader (oid, depth) AS (
  SELECT %s::oid, 0
  UNION
  SELECT r.ev_class, reader.depth + 1
  FROM reader
  JOIN pg_catalog.pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = reader.oid
    AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> reader.oid
)
SELECT v.oid, n.nspname, v.relname, pg_get_viewdef(v.oid)
FROM (SELECT oid, max(depth) AS depth FROM reader GROUP BY oid) AS reader
JOIN pg_catalog.pg_class AS v ON v.oid = reader.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = v.relnamespace
WHERE reader.depth > 0 AND v.relkind = 'v' ORDER BY reader.depth
"""


@dataclass(frozen=True)
class _Grant:
    role: str | None
    privilege: str
    with_option: bool

    def on(self, name: str) -> str:
        role = "PUBLIC" if self.role is None else identifier(self.role)
        return f"GRANT {self.privilege} ON {name} TO {role}{' WITH GRANT OPTION' if self.with_option else ''}"


@dataclass(frozen=True)
class _View:
    schema: str
    name: str
    select: str
    grants: tuple[_Grant, ...]

    @property
    def full_name(self) -> str:
        return f"{identifier(self.schema)}.{identifier(self.name)}"


@contextmanager
def carried(oid: int, name: str, own: Sequence[str], ask: Ask, run: Run) -> Iterator[None]:
    """Inside, the object `oid` is dropped and another one takes its `name` (quoted); its rights and the plain views
    that read it are restored after. To be used within a transaction.

    A view in one of our `own` schemas that no longer fits stays away: the build makes it anew. Any other one raises
    StatementError CDP311.
    """
    grants = _grants(oid, ask)
    views = [
        _View(str(schema), str(view), str(select), _grants(int(str(id_)), ask))
        for id_, schema, view, select in ask(_VIEWS, [oid])
    ]
    for view in reversed(views):
        run(f"DROP VIEW {view.full_name}")
    yield
    for grant in grants:
        run(grant.on(name))
    gone: set[str] = set()
    for view in views:
        if not _restored(view, run, must=view.schema not in own and not gone):
            gone.add(view.full_name)


def _grants(oid: int, ask: Ask) -> tuple[_Grant, ...]:
    rows = ask(_GRANTS, [oid])
    return tuple(_Grant(None if role is None else str(role), str(kind), bool(option)) for role, kind, option in rows)


def _restored(view: _View, run: Run, *, must: bool) -> bool:
    run("SAVEPOINT cdp_view")
    try:
        run(f"CREATE VIEW {view.full_name} AS {view.select}")
        for grant in view.grants:
            run(grant.on(view.full_name))
    except StatementError as error:
        run("ROLLBACK TO SAVEPOINT cdp_view")
        if must:
            raise StatementError(
                "CDP311",
                f"the view {view.schema}.{view.name} reads a table whose columns change: {error.message}",
                hint="drop that view or mend it, then build again",
            ) from None
        return False
    run("RELEASE SAVEPOINT cdp_view")
    return True
