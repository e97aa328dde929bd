"""What a run needs of the warehouse: `debug` tries it, one thing after the other; `grants` asks an administrator for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain

from sqlglot import exp
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from cdp.compile.render import Renderer
from cdp.compile.scan import aliased
from cdp.compile.sources import relation_of
from cdp.errors import CdpError, ProjectError, StatementError
from cdp.flow.catalogue import drift, missing_source
from cdp.flow.loading import Loaded, load_all
from cdp.flow.results import DebugLine, GrantsResult, Settings
from cdp.flow.selection import resources
from cdp.project.model import Source
from cdp.sync.state import open_state
from cdp.warehouse.base import Warehouse
from cdp.warehouse.names import identifier
from cdp.warehouse.profiles import connect, facts_of

SKEW = 60.0  # seconds between our clock and the warehouse's, beyond which `as_of` and its own times disagree
TRIPS = 3
_ASK = "an administrator can run what `cdp grants` prints"


def debug(settings: Settings) -> tuple[DebugLine, ...]:
    """Try everything that a run needs, one thing after the other, and say what is missing."""
    try:
        loaded = load_all(settings, check=True)
    except ProjectError as error:
        return tuple(
            DebugLine("project", False, f"{problem.code}: {problem.message}", problem.hint)
            for problem in error.problems[:10]
        )
    lines = [
        DebugLine("project", True, f"{loaded.project.name}: {len(resources(loaded.project))} resources"),
        DebugLine("target", True, f"{loaded.target.name} ({loaded.target.type})"),
    ]
    warehouse = connect(loaded.target, loaded.root)
    try:
        for line in chain(_connection(warehouse), _writing(warehouse), _reading(loaded, warehouse)):
            lines.append(line)
    except CdpError as error:
        lines.append(DebugLine("warehouse", False, f"{error.code}: {error.message}", error.hint))
    finally:
        warehouse.close()
    return (*lines, *_destinations(loaded))


def _connection(warehouse: Warehouse) -> Iterator[DebugLine]:
    """Who answers, how late its clock is, and how long it takes; raises where nobody does."""
    found = warehouse.about()
    yield DebugLine("version", True, found.version)
    yield DebugLine("role", True, found.role)
    before = datetime.now(UTC)
    clock = warehouse.about().clock.replace(tzinfo=UTC)
    after = datetime.now(UTC)
    skew = (clock - (before + (after - before) / 2)).total_seconds()
    late = abs(skew) > SKEW
    hint = "set the clocks: a run's `as_of` comes from here, times of leases and logs from there" if late else None
    yield DebugLine("clock", True, f"{skew:+.1f} s against this machine", hint, warning=late)
    times = []
    for _ in range(TRIPS):
        started = time.monotonic()
        warehouse.rows("SELECT 1 AS x")
        times.append(time.monotonic() - started)
    yield DebugLine("latency", True, f"{sorted(times)[TRIPS // 2] * 1000:.0f} ms, the median of {TRIPS} round trips")


def _writing(warehouse: Warehouse) -> Iterator[DebugLine]:
    """Whether tables can be made in both schemas; a lost warehouse raises."""
    try:
        warehouse.ensure_schemas()
        open_state(warehouse)
    except StatementError as error:
        yield _refused("schemas", error)
        return
    for schema in (warehouse.schema, warehouse.state_schema):
        try:
            warehouse.make_table(f"{schema}.tmp_debug", "SELECT 1 AS x")
            warehouse.drop(f"{schema}.tmp_debug")
            yield DebugLine(f"schema {schema}", True, "can be written")
        except StatementError as error:
            yield _refused(f"schema {schema}", error)


def _reading(loaded: Loaded, warehouse: Warehouse) -> Iterator[DebugLine]:
    """Whether each source can be read, without a scan, and has what is read of it; a lost warehouse raises."""
    for name, source in loaded.project.sources.items():
        missing = missing_source(loaded, warehouse, f"source:{name}")
        if missing is not None:
            yield DebugLine(f"source {name}", False, f"{missing.code}: {missing.message}", missing.hint)
            continue
        select = exp.select("*").from_(aliased(relation_of(source, loaded.lowered.schema), "s"))
        try:
            columns = warehouse.describe(Renderer(facts_of(loaded.target)).sql(select))
        except StatementError as error:
            yield _refused(f"source {name}", error)
            continue
        yield DebugLine(f"source {name}", True, f"can be read: {len(columns)} columns")
    for problem in drift(loaded, warehouse):
        if problem.severity == "warning":  # the others were told above
            yield DebugLine("drift", True, f"{problem.code}: {problem.message}", problem.hint, warning=True)


def _refused(name: str, error: StatementError) -> DebugLine:
    hint = f"{error.hint}; {_ASK}" if error.hint else _ASK
    return DebugLine(name, False, f"{error.code}: {error.message}", hint)


def _destinations(loaded: Loaded) -> Iterator[DebugLine]:
    from cdp.destination.connect import destination

    for name, config in loaded.target.destinations.items():
        try:
            there = destination(name, config, loaded.root)
            detail = f"{there.type}: can {', '.join(sorted(there.operations))}"
            yield DebugLine(f"destination {name}", True, detail)
        except CdpError as error:
            yield DebugLine(f"destination {name}", False, f"{error.code}: {error.message}", error.hint)


# ------------------------------------------------------------------------------------------------ grants
def grants(settings: Settings, role: str | None = None) -> GrantsResult:
    """The statements that give `role` (default: the target's own user) the least that a run needs; nothing is
    connected to. Raises ProjectError with the project's mistakes."""
    loaded = load_all(settings, check=True)
    reads = tuple(dict.fromkeys(table for source in loaded.project.sources.values() for table in _read(loaded, source)))
    warehouse = connect(loaded.target, loaded.root)
    who = role or _own_role(loaded) or "cdp"
    return GrantsResult(who, reads, warehouse.grants(who, reads))


def _own_role(loaded: Loaded) -> str | None:
    told = [getattr(loaded.target.warehouse, key, None) for key in ("role", "user")]
    return next((str(name) for name in told if name), None)


def _read(loaded: Loaded, source: Source) -> Iterator[str]:
    """The tables that a source reads, spelled as the catalogue has them."""
    relation = relation_of(source, loaded.lowered.schema)
    named = {cte.alias for cte in relation.find_all(exp.CTE)}
    settings = loaded.target.warehouse
    own = {settings.schema_, settings.state_schema}
    for table in relation.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier) or (not table.db and table.name in named):
            continue
        folded = normalize_identifiers(table.copy(), dialect=facts_of(loaded.target).dialect)
        parts = [part.name for part in folded.parts]
        if len(parts) > 1 and parts[-2].lower() in own:
            continue
        yield ".".join(part if part.isidentifier() else identifier(part) for part in parts)
