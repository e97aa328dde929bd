"""Names: what one may be, our own words, and the words that engines keep for themselves.

Generated SQL never quotes our names, so a name must be a plain word on every engine, also on those that a project does
not use today.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")

# The operators and options of conditions: a field with such a name could not be told from an operator.
GRAMMAR_WORDS = _words(
    """
    all any not field is has where match vacuous count distinct sum avg min max first last during did did_not
    from days sequence anchor open in not_in for journey step state arm consent received sql as within eq ne gt
    gte lt lte between contains not_contains starts_with ends_with matches exists empty contains_any
    contains_all within_last within_next older_than before after anniversary_within_next ref to as_of none
    """
)

_SQL = """
    all and any array as asc between both case cast check collate column constraint create cross current_date
    current_time current_timestamp current_user default desc distinct else end except false fetch for foreign
    from full grant group having in inner intersect interval into is join lateral leading left like limit
    natural not null offset on only or order outer primary references right select session_user some table then
    to trailing true union unique user using when where window with
"""

# From each engine's own list of words that cannot be a table's or a column's name without quotes.
RESERVED: Mapping[str, frozenset[str]] = {
    "SQL": _words(_SQL) - {"array", "interval", "cast"},
    "DuckDB": _words(
        """
        analyse analyze anti array asof asymmetric at authorization binary by cast collation columns
        concurrently current_catalog current_role deferrable describe do freeze generated glob ilike initially
        isnull lambda localtime localtimestamp map notnull overlaps pivot pivot_longer pivot_wider placing
        positional qualify returning semi show similar struct summarize symmetric tablesample try_cast tuple
        unpack unpivot variadic verbose
        """
    ),
    "Postgres": _words(
        """
        analyse analyze array asymmetric authorization binary cast collation concurrently current_catalog
        current_role current_schema deferrable do freeze ilike initially isnull localtime localtimestamp notnull
        overlaps placing returning similar symmetric system_user tablesample variadic verbose
        """
    ),
    "Snowflake": _words(
        """
        alter by connect current delete drop exists following gscluster ilike increment insert localtime
        localtimestamp minus of qualify regexp revoke rlike row rows sample set start tablesample trigger
        try_cast update values whenever
        """
    ),
    "BigQuery": _words(
        """
        array assert_rows_modified at by cast contains cube current define enum escape exclude exists extract
        following graph_table groups grouping hash if ignore interval lookup merge new no nulls of over
        partition preceding proto qualify range recursive respect rollup rows set struct tablesample treat
        unbounded unnest within
        """
    ),
    "Spark": _words(
        """
        anti array authorization by cast escape exists filter grouping interval minus overlaps rollup semi set
        sql unknown values within
        """
    )
    - {"filter", "sql", "unknown"},  # ANSI mode keeps them for its grammar; they can be columns
    "Redshift": _words(
        """
        aes128 aes256 allowoverwrite analyse analyze array authorization az64 backup binary blanksasnull
        bytedict bzip2 cast credentials current_user_id deferrable deflate defrag delta delta32k disable do
        emptyasnull enable encode encrypt encryption explicit freeze globaldict256 globaldict64k gzip identity
        ignore ilike initially interval isnull localtime localtimestamp lun luns lzo lzop minus mostly16
        mostly32 mostly8 new notnull nulls off offline oid old open overlaps parallel partition percent
        permissions pivot placing qualify raw readratio recover rejectlog resort respect restore similar
        snapshot super sysdate system tag tdes text255 text32k timestamp top truncatecolumns type unnest unpivot
        verbose wallet without
        """
    ),
}

# Engines add these to every table, or answer to them as if they were columns.
_PSEUDO = _words("rowid rownum ctid xmin xmax cmin cmax tableoid")

# What is named here becomes a table or a column as it is; other names only stand behind a prefix.
_BARE = frozenset({"entity", "source", "identifier", "attribute", "trait"})


def name_problem(name: str, kind: str) -> str | None:
    """What is wrong with the name of a resource of this kind (`entity`, `source`, `trait`, `sync`, …), or None.

    >>> name_problem("order", "source")
    '`order` is a reserved word of SQL and cannot name a source: write `order_` and something, say `order_rows`'
    """
    if not NAME.match(name):
        return _shape_problem(name, kind)
    if kind not in _BARE:
        return None
    if name in GRAMMAR_WORDS:
        return f"`{name}` is a word of the project language and cannot name {_article(kind)}: {_other(name, kind)}"
    for engine, words in RESERVED.items():
        if name in words:
            return f"`{name}` is a reserved word of {engine} and cannot name {_article(kind)}: {_other(name, kind)}"
    if name in _PSEUDO:
        return (
            f"`{name}` is a column that engines make themselves and cannot name {_article(kind)}: {_other(name, kind)}"
        )
    if name.startswith("cdp_"):
        return f"`{name}` begins with `cdp_`, as our own names do, and cannot name {_article(kind)}"
    return None


def _shape_problem(name: str, kind: str) -> str:
    if len(name) > 40:
        return f"the name of {_article(kind)} has {len(name)} characters; 40 is the limit"
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
    plain = plain if not plain or plain[0].isalpha() else f"{kind}_{plain}"
    said = (
        f"`{name}` cannot name {_article(kind)}: a name is lower case letters, digits and `_`, and begins with a letter"
    )
    return f"{said}; write `{plain}`" if NAME.match(plain) else said


def _article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"


def _other(name: str, kind: str) -> str:
    ending = {"source": "rows", "entity": "profile"}.get(kind, "value")
    return f"write `{name}_` and something, say `{name}_{ending}`"
