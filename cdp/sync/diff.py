"""What has to be sent: the mapped rows against the ledger, in SQL, in the warehouse.

The diff makes scratch tables only. Its last one, `stage_<sync>__new`, holds one row per operation, numbered in the order of
sending; it becomes `stage_<sync>` when the run commits to sending it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from cdp.compile.plan import SyncPlan
from cdp.compile.render import column, text
from cdp.sync.expression import (
    Known,
    any_differs,
    changed_bits,
    digest,
    match_differs,
    match_ids,
)
from cdp.sync.fault import point
from cdp.sync.ledger import Ledger
from cdp.sync.names import Names
from cdp.sync.result import SyncOptions
from cdp.sync.state import State, kind, moment, number

OPERATION = (
    "row_key", "part", "kind", "operation", "match_ids", "remote_id", "version", "changed", "doubt", "tries", "why",
    "phase",
)  # fmt: skip
"""Columns of a staged operation beside its number, its run and the values of its fields."""


@dataclass(frozen=True)
class Route:
    """How this destination carries out this sync.

    `record` and `members`: whether records are written and a list is kept. `enter` is the operation of a record; `leave`,
    `merged` and their `list_` twins what a row that left asks for: None means that it is forgotten without a word.
    `by_remote_id`: a record can be addressed by the id that the destination gave it, so other match ids are a change.
    """

    record: bool
    members: bool
    enter: str
    leave: str | None = None
    merged: str | None = None
    list_leave: str | None = None
    list_merged: str | None = None
    by_remote_id: bool = False
    adds_first: bool = False

    def leaves(self, part: str) -> tuple[str | None, str | None]:
        """What a row that left, and one whose key was merged into another, ask for in this part."""
        return (self.leave, self.merged) if part == "record" else (self.list_leave, self.list_merged)


@dataclass(frozen=True)
class Horizon:
    """The run's instants, in microseconds since 1970: the build's clock for what is too old, the wall clock for waiting."""

    as_of: int
    now: int


@dataclass(frozen=True)
class Diffed:
    """What the diff found. `queried`: live rows of the source. `planned`: rows per kind, without those of `held` (removals of rows that are still members);
    `gone`: rows of the ledger that are not in the source any more; `groups`: (part, operation, rows) in the order of
    sending, a barrier between each two; `moves`: whether keys have to be moved in the ledger."""

    queried: int
    aside: Mapping[str, int] = field(default_factory=dict)
    planned: Mapping[str, int] = field(default_factory=dict)
    held: int = 0
    late: int = 0
    gone: int = 0
    groups: tuple[tuple[str, str, int], ...] = ()
    carried: int = 0
    moves: bool = False

    @property
    def staged(self) -> int:
        """Operations to send."""
        return sum(count for _, _, count in self.groups)

    @property
    def duplicates(self) -> int:
        """Rows set aside because their key or their match ids are not theirs alone."""
        return self.aside.get("duplicate_key", 0) + self.aside.get("duplicate_match", 0)

    @property
    def skipped(self) -> int:
        """Rows without a match id, and duplicates that lost to a preferred row."""
        return self.aside.get("no_match_id", 0) + self.aside.get("not_preferred", 0)


@dataclass(frozen=True)
class Changes:
    """Rows of one part that came, that stay but differ, that left, and whose match ids are others now."""

    came: int
    differ: int
    left: int
    rematched: int


class Diff:
    """The diff of one sync in one run."""

    def __init__(
        self,
        state: State,
        plan: SyncPlan,
        route: Route,
        ledger: Ledger,
        names: Names,
        *,
        run_id: str,
        version: int,
        horizon: Horizon,
        options: SyncOptions,
        changes_upto: int | None,
        members_exist: bool,
        refused: bool,
        stage_columns: Sequence[str] | None,
    ) -> None:
        self.state = state
        self.plan = plan
        self.route = route
        self.ledger = ledger
        self.names = names
        self.run_id = run_id
        self.version = version
        self.horizon = horizon
        self.options = options
        self.changes_upto = changes_upto
        self.members_exist = members_exist
        self.refused = names.refused if refused else None
        self.stage_columns = tuple(stage_columns or ())
        self.append = plan.mode == "append"
        self.matched = bool(plan.match)
        self.rows = plan.table
        self.aside: str | None = None
        self.moves: str | None = None
        self.doubt: str | None = None
        self.changes: dict[str, Changes] = {}

    def run(self) -> Diffed:
        """Make the new stage (`names.new`) and tell what is in it."""
        point("diff")
        queried = int(self.state.rows("count_rows", rows=self.plan.table)[0][0])
        self._prefer()
        self._follow_merges()
        self._doubts()
        aside = self._compare()
        if self.matched and not self.append and self._follow_matches():
            self._doubts()
            aside = self._compare()
        point("diffed")
        self._operations()
        self._number()
        return self._told(queried, aside, self.changes[self.parts[0]].left)

    # rows that cannot be judged

    def _prefer(self) -> None:
        if not self.plan.prefer or self.append:
            return
        columns = [c.name for c in self.state.warehouse.columns(self.plan.table) or ()]
        self.rows = self.names.winners
        self.state.make(
            self.rows,
            "winners",
            rows=self.plan.table,
            columns=columns,
            match_ids=match_ids(self.plan.match),
            matched=self.matched,
            prefer=[{"column": name, "descending": descending} for name, descending in self.plan.prefer],
        )

    def _compare(self) -> dict[str, int]:
        """Make the diffs of all parts; rows set aside, by reason."""
        for part in self.parts:
            self._make_diff(part)
        aside: dict[str, int] = {}
        self.aside = None
        if self._set_aside():
            self.aside = self.names.aside
            aside = {str(reason): int(rows) for reason, rows in self.state.rows("count_aside", aside=self.aside)}
            for part in self.parts:
                self.state.execute("take_aside", diff=self._diff_table(part), aside=self.aside)
        for part in self.parts:
            found = self.state.rows("count_changes", diff=self._diff_table(part))[0]
            self.changes[part] = Changes(*(int(count) for count in found))
        return aside

    def _set_aside(self) -> int:
        return self.state.make(
            self.names.aside,
            "aside",
            rows=self.plan.table,
            kept=self.rows,
            diffs=[self._diff_table(part) for part in self.parts],
            matched=self.matched,
            unique_match=self.matched and not self.append,
            match=[one.column for one in self.plan.match],
        )

    # keys that changed

    def _follow_merges(self) -> None:
        if not self.plan.changes or not self.ledger.exists:
            return
        upto = None if self.changes_upto is None else moment(self.changes_upto)
        found = self.state.make(self.names.moves, "merge_moves", changes=self.plan.changes, upto=upto)
        if found and self.append:
            tables = [self.names.ledger, *([self.names.stage] if self.stage_columns else [])]
            new = f"{self.names.moves}__new"
            found = self.state.make(new, "stay_moves", moves=self.names.moves, tables=tables)
            self.state.warehouse.swap({new: self.names.moves})
        self.moves = self.names.moves if found else None

    def _follow_matches(self) -> bool:
        """A row that left and one that came with equal match ids are one row under another key."""
        part = self.parts[0]
        if not self.changes[part].came or not self.changes[part].left:
            return False
        diff = self._diff_table(part)
        found = self.state.make(f"{self.names.moves}__new", "match_moves", diff=diff, moves=self.moves)
        before = self._count(self.moves) if self.moves else 0
        same = found == before and self.moves is not None
        self.state.warehouse.swap({f"{self.names.moves}__new": self.names.moves})
        self.moves = self.names.moves if found else None
        return bool(found) and not same

    def _count(self, table: str) -> int:
        return int(self.state.rows("count", table=table)[0][0])

    def _doubts(self) -> None:
        if not self.stage_columns:
            return
        columns = [
            name for name in self.stage_columns if name not in ("n", "run_id", "row_key", "tried", "carried", "counts")
        ]
        count = self.state.make(self.names.doubt, "doubt", stage=self.names.stage, moves=self.moves, columns=columns)
        self.doubt = self.names.doubt if count else None

    # the comparison

    def _diff_table(self, part: str) -> str:
        return self.names.record_diff if part == "record" else self.names.list_diff

    @property
    def parts(self) -> tuple[str, ...]:
        """Which ledgers this sync keeps."""
        return tuple(p for p, kept in (("record", self.route.record), ("list", self.route.members)) if kept)

    def _make_diff(self, part: str) -> None:
        fields = self.ledger.fields if part == "record" else ()
        exists = self.ledger.exists if part == "record" else self.members_exist
        self.state.make(
            self._diff_table(part),
            "changes",
            part=part,
            rows=self.rows,
            ledger=(self.names.ledger if part == "record" else self.names.members) if exists else None,
            moves=self.moves,
            doubt=self.doubt,
            append=self.append,
            too_old=self._too_old(1),
            resync=self.options.resync,
            matched=self.matched,
            rematches=self.matched and not self.append and not (part == "record" and self.route.by_remote_id),
            match=[one.column for one in self.plan.match],
            match_ids=match_ids(self.plan.match, "c"),
            match_differs=match_differs(self.plan.match) if self.matched else None,
            any_differs=any_differs(fields),
            changed=changed_bits(fields),
            columns=[known.column for known in fields],
            sent=[known.column for known in fields if known.sent_type is not None],
        )

    def _too_old(self, times: int) -> exp.Expr | None:
        if not self.append or self.plan.since_us is None:
            return None
        return moment(self.horizon.as_of - times * self.plan.since_us)

    # operations

    def _operations(self) -> None:
        sources: list[exp.Expr] = []
        for part in self.parts:
            found = self.changes[part]
            if found.came or found.differ:
                sources.append(self._enter(part))
            if not self.append and (found.left or found.rematched or self.doubt or self.refused):
                sources.append(self._leave(part))
            if part == "record" and self.route.members:  # the list's statement asks which records are on their way
                self._make_ops(sources)
                sources = []
        if self.route.record and self.route.members:
            for source in sources:
                self._insert_ops(source)
        else:
            self._make_ops(sources)

    def _make_ops(self, sources: Sequence[exp.Expr]) -> None:
        first, *rest = sources or [self._nothing()]
        self.state.warehouse.make_table(self.names.ops, self.state.render.sql(first, pretty=False))
        for source in rest:
            self._insert_ops(source)

    def _insert_ops(self, source: exp.Expr) -> None:
        columns = [*OPERATION[:-1], "counts", "phase", *(known.column for known in self.ledger.fields)]
        insert = exp.insert(source, exp.to_table(self.names.ops), columns=columns)
        self.state.warehouse.execute(self.state.render.sql(insert, pretty=False))

    def _nothing(self) -> exp.Expr:
        return self.state.render.tree("sync/no_operations", fields=self._typed())

    def _typed(self) -> list[dict[str, str]]:
        return [{"column": known.column, "type": kind(known.type)} for known in self.ledger.fields]

    def _times(self) -> dict[str, exp.Expr]:
        return {
            "now": moment(self.horizon.now),
            "give_up": moment(self.horizon.now - self.plan.retry_give_up_us),
            "version": number(self.version),
        }

    def _enter(self, part: str) -> exp.Expr:
        fields = self.plan.fields if part == "record" else ()
        chained = part == "list" and self.route.record
        return self.state.render.tree(
            "sync/enter",
            diff=self._diff_table(part),
            part=part,
            operation=self.route.enter if part == "record" else "add",
            kind_there="change" if part == "record" else "add",
            ledger=self.names.ledger if chained and self.ledger.exists else None,
            ops=self.names.ops if chained else None,
            doubt=self.doubt,
            same_as_doubt=self._same_as_doubt(part),
            refused=self.refused,
            digest=digest(fields, "d"),
            everything=self.options.resync,
            all_changed=text("1" * len(fields)),
            fields=self._typed(),
            **self._times(),
        )

    def _same_as_doubt(self, part: str) -> exp.Expr:
        """Whether the staged value of a dead run is what would be sent now: then it keeps its idempotency key."""
        tests: list[exp.Expr] = [_same("match_ids")]
        if part == "record":
            staged = {name for name in self.stage_columns if name.startswith("f_")}
            if staged != {known.column for known in self.ledger.fields} or _retyped(self.ledger.fields):
                return exp.false()
            tests += [_same(known.column) for known in self.ledger.fields]
        return exp.and_(*tests)

    def _leave(self, part: str) -> exp.Expr:
        operation, merged = self.route.leaves(part)
        fields = self.plan.fields if part == "record" else ()
        return self.state.render.tree(
            "sync/leave",
            diff=self._diff_table(part),
            part=part,
            rows=self.plan.table,
            aside=self.aside,
            doubt=self.doubt,
            refused=self.refused,
            changes=self.plan.changes,
            matched=self.matched,
            match_ids=match_ids(self.plan.match),
            operation=operation,
            merged_operation=merged,
            everything=self.options.resync,
            all_changed=text("1" * len(fields)),
            fields=self._typed(),
            **self._times(),
        )

    def _number(self) -> None:
        options = self.options
        self.state.make(
            self.names.new,
            "stage",
            ops=self.names.ops,
            columns=[*OPERATION, *(known.column for known in self.ledger.fields)],
            doubt=self.doubt,
            doubt_columns=["row_key", *self.stage_columns],
            rows=self.plan.table,
            run_id=text(self.run_id),
            mapping=number(self.ledger.mapping),
            adds_first=self.route.adds_first,
            both=self.route.record and self.route.members,
            only=[text(key) for key in options.only],
            limit=options.limit,
            selective=options.selective,
        )

    def _told(self, queried: int, aside: Mapping[str, int], gone: int) -> Diffed:
        planned = {"add": 0, "change": 0, "remove": 0}
        held = 0
        for kind_, why, count in self.state.rows("planned", stage=self.names.new):
            if why == "held":
                held += int(count)
            else:
                planned[kind_] += int(count)
        groups = tuple((str(p), str(o), int(c)) for p, o, c, _ in self.state.rows("groups", stage=self.names.new))
        staged = sum(count for _, _, count in groups)
        late = 0
        old = self._too_old(1)
        if old is not None:
            ledger = self.names.ledger if self.ledger.exists else None
            late = int(
                self.state.rows(
                    "count_late", rows=self.plan.table, ledger=ledger, too_old=old, far_too_old=self._too_old(2)
                )[0][0]
            )
        carried = self._count(self.names.new) - staged if self.doubt else 0
        return Diffed(queried, aside, planned, held, late, gone, groups, carried, bool(self.moves))


def _same(name: str) -> exp.Expr:
    return exp.NullSafeEQ(this=column(name, "b"), expression=column(name, "d"))


def _retyped(fields: Sequence[Known]) -> bool:
    return any(known.sent_type is not None and not known.same_type for known in fields)
