"""The tables that there are while a plan runs, statement by statement, as `qualify` needs to know them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp, parse
from sqlglot.generators.redshift import RedshiftGenerator
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from cdp.compile.plan import Plan, Statement
from cdp.flow.artifacts import statements
from cdp.project import Project
from cdp.sync.state import TABLES
from cdp.warehouse.functions import FACTS
from tests.conformance.test_offline import REVIEWED

MAX_BYTES = 200_000


@dataclass
class Catalogue:
    """Tables and their columns, in the spelling to which the engine folds a name that is not quoted."""

    engine: str
    quoted: set[str]  # names that may stand in quotes: those of users' columns
    tables: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dialect = FACTS[self.engine].dialect
        self.schema = MappingSchema(dialect=self.dialect, normalize=False)

    # ------------------------------------------------------------------------------------------ what there is
    def add(self, name: str, columns: Iterable[str], *, quoted: bool = False) -> None:
        """A table `schema.name`; its columns are ours and fold, unless they are a user's."""
        table = self._folded(exp.to_table(name))
        kept = [self._folded(exp.to_identifier(column, quoted=quoted)).name for column in columns]
        self.tables[table.sql()] = kept
        self.schema.add_table(table, dict.fromkeys(kept, "TEXT"), dialect=self.dialect, normalize=False)

    def copy(self, name: str, of: str) -> None:
        """The table `name` has the columns of another one."""
        self.add(name, self.tables[self._folded(exp.to_table(of)).sql()], quoted=True)

    def columns(self, table: exp.Table) -> list[str]:
        """The columns of a table in a statement; fails where there is no such table."""
        bare = self._folded(exp.Table(this=table.this.copy(), db=table.args["db"].copy()))
        assert bare.sql() in self.tables, f"no table {bare.sql()}"
        return self.tables[bare.sql()]

    def _folded(self, tree: exp.Expr) -> exp.Expr:
        folded = normalize_identifiers(tree, dialect=self.dialect)
        for node in folded.find_all(exp.Identifier):
            if self._harmless(node.name):
                node.set("quoted", False)
        return folded

    # ------------------------------------------------------------------------------------------ statements
    def check(self, statement: Statement) -> None:
        """All that holds of any statement; what it makes is there afterwards."""
        tree = self.parsed(statement.sql)
        if statement.action == "run":
            self.change(tree)
            return
        columns = self.select(tree)
        if statement.action in ("table", "view"):
            self.add(statement.target, columns, quoted=True)

    def parsed(self, sql: str) -> exp.Expr:
        """The one statement that a text is, read back; its size, functions and quotes are looked at."""
        assert len(sql.encode()) <= MAX_BYTES
        [tree] = parse(sql, dialect=self.dialect)
        assert tree is not None and not isinstance(tree, exp.Command), sql
        unknown = {node.name.upper() for node in tree.find_all(exp.Anonymous)} - REVIEWED[self.engine]
        assert not unknown, f"{unknown} in {sql}"
        assert "cdp_slot" not in sql
        for node in tree.find_all(exp.Identifier):
            free = node.name in self.quoted or isinstance(node.parent, exp.Collate) or self._harmless(node.name)
            assert free or not node.args.get("quoted"), f"{node.name} is quoted in {sql}"
        for column in tree.find_all(exp.Column):
            assert not column.args.get("db"), f"{column.sql()}: not every engine knows a column by its schema"
        return tree

    def _harmless(self, name: str) -> bool:
        """Redshift folds quoted names too; sqlglot quotes the words that are reserved there (type, raw)."""
        return self.engine == "redshift" and name.lower() in RedshiftGenerator.RESERVED_KEYWORDS

    def select(self, tree: exp.Expr) -> list[str]:
        """The columns of a query, all of whose columns and tables are known."""
        assert isinstance(tree, exp.Query), tree.sql()
        self._known(tree)
        whole = qualify(tree.copy(), schema=self.schema, dialect=self.dialect, validate_qualify_columns=True)
        assert isinstance(whole, exp.Query)
        names = [column.alias_or_name for column in whole.selects]
        assert "" not in names and "*" not in names and len(set(names)) == len(names), names
        return names

    def change(self, tree: exp.Expr) -> None:
        """CREATE, INSERT, UPDATE and DELETE: what they read is known, and what they write is there."""
        if isinstance(tree, exp.Create):
            assert isinstance(tree.this, exp.Schema)
            names = [column.name for column in tree.this.expressions if isinstance(column, exp.ColumnDef)]
            self.add(tree.this.this.sql(), names)
        elif isinstance(tree, exp.Insert):
            self._insert(tree)
        elif isinstance(tree, exp.Delete):
            self._select(tree, [exp.Literal.number(1)])
        elif isinstance(tree, exp.Update):
            values = [item.expression.copy() for item in tree.expressions]
            there = self.columns(tree.this)
            assert all(self._folded(item.this.copy()).name in there for item in tree.expressions), tree.sql()
            self._select(tree, values)
        else:
            raise AssertionError(f"{type(tree).__name__}: {tree.sql()}")

    def _insert(self, tree: exp.Insert) -> None:
        target = tree.this
        assert isinstance(target, exp.Schema), f"an INSERT without its columns: {tree.sql()}"
        there = self.columns(target.this)
        named = [self._folded(column.copy()).name for column in target.expressions]
        assert set(named) <= set(there), f"{set(named) - set(there)} are no columns of {target.this.sql()}"
        query = tree.expression.copy()
        if tree.args.get("with_") is not None:  # Spark wants it before the INSERT, the others after it
            assert self.engine == "spark", tree.sql()
            query.set("with_", tree.args["with_"].copy())
        if isinstance(query, exp.Values):
            assert all(len(row.expressions) == len(named) for row in query.expressions)
            return
        for number, column in enumerate(query.selects):  # a value without a name has one by its position
            if not column.alias_or_name or number:
                column.replace(exp.alias_(column.unalias(), f"v{number}"))
        assert len(self.select(query)) == len(named), tree.sql()

    def _select(self, tree: exp.Delete | exp.Update, values: list[exp.Expr]) -> None:
        """The reading half of a DELETE or UPDATE as a query."""
        query = exp.select(*(exp.alias_(value, f"v{number}") for number, value in enumerate(values))).from_(
            tree.this.copy()
        )
        more = tree.args.get("from_") or tree.args.get("using")
        for source in [more.this] if isinstance(more, exp.From) else more or []:
            query = query.join(source.copy(), join_type="cross")
        where = tree.args.get("where")
        assert where is not None, f"without WHERE: {tree.sql()}"
        self.select(query.where(where.this.copy()))

    def _known(self, tree: exp.Expr) -> None:
        names = {self._folded(cte.args["alias"].this.copy()).name for cte in tree.find_all(exp.CTE)}
        for table in tree.find_all(exp.Table):
            if isinstance(table.this, exp.Identifier) and not table.args.get("db"):
                assert self._folded(table.this.copy()).name in names, f"no table {table.sql()}"
            elif isinstance(table.this, exp.Identifier):
                self.columns(table)


def catalogue(project: Project, engine: str) -> Catalogue:
    """What is there before the first build: the sources by their lock, and the state schema."""
    users = {column for columns in project.lock.values() for column in columns}
    users |= {column for source in project.sources.values() for column in source.columns}
    found = Catalogue(engine, users)
    for name, columns in project.lock.items():
        table = project.sources[name].table
        if table is not None:
            found.add(table, columns, quoted=True)
    for name, columns in TABLES.items():
        found.add(f"cdp_state.{name}", columns)
    return found


def check_plan(plan: Plan, found: Catalogue) -> Iterator[Statement]:
    """Every statement of a plan, checked in the order in which they run."""
    for step in plan.steps:
        published: Mapping[str, str] = {name: f"{name}__new" for name in step.publishes}
        for statement in statements(step):
            try:
                found.check(statement)
            except Exception as error:
                raise AssertionError(f"{step.id}, {statement.name}: {error}\n{statement.sql[:3000]}") from error
            for name, new in published.items():
                if statement.target == new:
                    found.copy(name, new)
            yield statement
