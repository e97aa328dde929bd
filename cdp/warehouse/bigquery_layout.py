"""How a table is laid out on BigQuery, and its names in SQL.

Where a scan is billed by what it reads, `rows_<source>` (all rows of a source, read again by every condition) is worth
it: a partition for each month of `row_at` and, within, the order that the compiler asks for (a stream's event) and the
ids. A month, not a day: a statement may write to 4,000 partitions, and BigQuery keeps times before 1960 and after 2159 in
one partition of their own, so that no source can have too many.
https://cloud.google.com/bigquery/docs/partitioned-tables, https://cloud.google.com/bigquery/docs/clustered-tables
"""

from __future__ import annotations

import re

from sqlglot import exp, parse_one

from cdp.warehouse.names import parts

_LARGE = re.compile(r"(tmp_)?rows_")
_MOST = 4  # columns that a table can be clustered by


def identifier(name: str) -> str:
    """The name as a quoted SQL identifier of BigQuery."""
    return exp.to_identifier(name, quoted=True).sql(dialect="bigquery")


def quoted(table: str) -> str:
    """The whole name, each part quoted."""
    return ".".join(identifier(part) for part in parts(table))


def laid_out(table: str, select: str) -> str:
    """`[PARTITION BY …] [CLUSTER BY …] AS <select>`, the end of a CREATE TABLE."""
    if not _LARGE.match(parts(table)[-1]):
        return f"AS {select}"
    tree = parse_one(select, dialect="bigquery")
    if not isinstance(tree, exp.Select):
        return f"AS {select}"
    order = tree.args.get("order")
    wanted = [item.this.name for item in order.expressions if isinstance(item.this, exp.Column)] if order else []
    if order is not None:
        tree.set("order", None)  # rows have no order in a table there; a sort of them all would be paid for nothing
    names = tree.named_selects
    wanted += [name for name in names if name.endswith("_id") and not name.startswith("c_")]
    cluster = [identifier(name) for name in dict.fromkeys(wanted) if name in names][:_MOST]
    partition = "PARTITION BY DATETIME_TRUNC(row_at, MONTH) " if "row_at" in names else ""
    clustering = f"CLUSTER BY {', '.join(cluster)} " if cluster else ""
    return f"{partition}{clustering}AS {tree.sql(dialect='bigquery')}"
