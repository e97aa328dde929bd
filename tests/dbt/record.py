"""Makes `recorded/` anew with the real dbt: `python -m tests.dbt.record`. What nothing here reads is left out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.dbt.real import Dbt, executable

RECORDED = Path(__file__).parent / "recorded"
NODE = (
    "unique_id", "resource_type", "name", "package_name", "source_name", "relation_name", "config", "tags", "description", "meta",
    "columns", "depends_on", "contract", "version", "latest_version", "attached_node", "column_name", "test_metadata",
)  # fmt: skip
CONFIG = ("enabled", "materialized", "severity", "where", "meta", "contract")
METADATA = ("dbt_schema_version", "dbt_version", "project_name", "adapter_type")


def main() -> None:
    """Build well, build badly, look at freshness, make the docs; write down each command's artifact."""
    program = executable()
    if program is None:
        raise SystemExit("no dbt: name it in $CDP_TEST_DBT")
    RECORDED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        dbt = Dbt(Path(scratch) / "analytics", program)
        dbt("deps")
        dbt("seed")
        dbt("source", "freshness", fine=False)  # its data is of January 2026
        _write("sources", dbt.artifact("sources.json"))
        for name, args, fine in (
            ("built", ["build"], True),
            ("broken", ["build", "--vars", "{broken: true}"], False),
            ("twice", ["build", "--vars", "{twice: true}"], False),
            ("generated", ["docs", "generate"], True),
        ):
            dbt(*args, fine=fine)
            _write(name, _results(dbt.artifact("run_results.json")))
        _write("catalog", _catalog(dbt.artifact("catalog.json")))
        _write("manifest", _manifest(dbt.artifact("manifest.json")))


def _write(name: str, content: Any) -> None:
    content["metadata"] = {key: content["metadata"][key] for key in METADATA if key in content["metadata"]}
    (RECORDED / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def _results(content: Any) -> Any:
    kept = [{key: result[key] for key in ("unique_id", "status", "message")} for result in content["results"]]
    return {"metadata": content["metadata"], "args": {"which": content["args"]["which"]}, "results": kept}


def _catalog(content: Any) -> Any:
    nodes = {id_: {"columns": node["columns"]} for id_, node in content["nodes"].items()}
    return {"metadata": content["metadata"], "nodes": nodes}


def _manifest(content: Any) -> Any:
    kept = {key: {id_: _node(node) for id_, node in content[key].items()} for key in ("nodes", "sources", "unit_tests")}
    disabled = {id_: [_node(node) for node in several] for id_, several in content["disabled"].items()}
    return {"metadata": content["metadata"], **kept, "disabled": disabled}


def _node(node: Any) -> Any:
    kept = {key: node[key] for key in NODE if node.get(key) not in (None, {}, [], "")}
    if "config" in kept:
        kept["config"] = {key: node["config"][key] for key in CONFIG if node["config"].get(key) not in (None, {}, [])}
    if "depends_on" in kept:
        kept["depends_on"] = {"nodes": node["depends_on"].get("nodes", [])}
    return kept


if __name__ == "__main__":
    main()
