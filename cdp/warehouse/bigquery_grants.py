"""The least rights that cdp needs on BigQuery, in its data control language.

https://cloud.google.com/bigquery/docs/reference/standard-sql/data-control-language
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cdp.warehouse.bigquery_layout import quoted
from cdp.warehouse.names import parts


def least(role: str, reads: Sequence[str], project: str, *datasets: str) -> tuple[str, ...]:
    """GRANT statements: run jobs in `project`, read the tables `reads`, and write to `datasets`, which must be there.

    `role` is a principal (`user:…`, `group:…`, `serviceAccount:…`); a bare address is made one by its look.
    """
    who = exp.Literal.string(_principal(role)).sql(dialect="bigquery")
    run = f"GRANT `roles/bigquery.jobUser` ON PROJECT {quoted(_one(project))} TO {who}"
    read = [f"GRANT `roles/bigquery.dataViewer` ON TABLE {quoted(_full(table, project))} TO {who}" for table in reads]
    write = [
        f"GRANT `roles/bigquery.dataEditor` ON SCHEMA {quoted(_one(project))}.{quoted(dataset)} TO {who}"
        for dataset in datasets
    ]
    return (run, *read, *write)


def _one(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _full(table: str, project: str) -> str:
    return table if len(parts(table)) > 2 else f"{_one(project)}.{table}"


def _principal(role: str) -> str:
    if ":" in role or "@" not in role:
        return role
    return f"serviceAccount:{role}" if role.endswith(".gserviceaccount.com") else f"user:{role}"
