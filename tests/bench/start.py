"""How long a person waits: `cdp --version`, `cdp --help`, `cdp validate` of 1,000 resources, `cdp compile` of the same.

Whole processes, interleaved rounds, medians.

    python -m tests.bench.start [--resources 1000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml


def project(folder: Path, resources: int) -> None:
    """Traits, audiences and syncs in the proportion 4 : 5 : 1, over three sources and one resolved entity."""
    traits = {
        f"t{number}": [
            {"count": "orders", "where": {"status": "paid"}, "during": f"last {1 + number % 365} days"},
            {"sum": "orders.amount", "where": {"channel": f"c{number % 7}"}},
            {"last": "events.channel", "where": {"event": f"Event {number % 50}"}},
            {"formula": f"coalesce(t{max(0, number - 4) // 4 * 4}, 0) > {number}"}
            if number >= 4
            else {"count": "orders"},
        ][number % 4]
        for number in range(resources * 4 // 10)
    }
    audiences = {
        f"a{number}": {
            "of": "customer",
            "where": {
                "all": [
                    {"country": ["FR", "BE"]},
                    {f"t{number % len(traits) // 4 * 4}": {"gte": number % 9}},
                    {
                        "has": "orders",
                        "where": {"status": "paid"},
                        "count": {"gte": 1 + number % 3},
                        "during": f"last {1 + number % 90} days",
                    },
                    {"did_not": f"Event {number % 50}", "during": "last 30 days"},
                ]
            },
        }
        for number in range(resources * 5 // 10)
    }
    syncs = {
        f"s{number}": {
            "from": {"audience": f"a{number}"}, "to": {"destination": "crm", "list": f"list {number}"}, "mode": "mirror", "match": {"email": "email"},
        }
        for number in range(resources // 10)
    }  # fmt: skip
    files = {
        "cdp_project.yml": {"version": 1, "name": "bench", "profile": "bench"},
        "profiles.yml": {
            "bench": {
                "target": "dev",
                "targets": {
                    "dev": {"warehouse": {"type": "duckdb", "path": "x.duckdb"}, "destinations": {"crm": {"type": "file", "path": "out/", "format": "jsonl"}}}
                },
            }
        },
        "sources.yml": {
            "sources": {
                "contacts": {"table": "raw.contacts", "key": "id", "ids": {"customer": {"user_id": "id", "email": "email"}}},
                "orders": {"table": "raw.orders", "key": "order_id", "time": "at_time", "ids": {"customer": {"user_id": "uid"}}},
                "events": {"table": "raw.events", "time": "at_time", "event": "event", "ids": {"customer": {"user_id": "uid"}}},
            },
            "entities": {
                "customer": {
                    "identity": {"identifiers": [{"user_id": {"limit": 1}}, {"email": {"limit": 5, "normalize": "email"}}]},
                    "attributes": {"country": {"from": "contacts.country"}},
                }
            },
        },
        "traits.yml": {"traits": {"customer": traits}},
        "audiences.yml": {"audiences": audiences},
        "syncs.yml": {"syncs": syncs},
        "sources.lock.yml": {
            "version": 1,
            "sources": {
                "contacts": {"id": "text", "email": "text", "country": "text"},
                "orders": {"order_id": "text", "uid": "text", "status": "text", "channel": "text", "amount": "decimal", "at_time": "timestamp"},
                "events": {"uid": "text", "event": "text", "channel": "text", "at_time": "timestamp"},
            },
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))


def main() -> None:
    """Take turns, print medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--resources", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cdp = str(Path(sys.executable).with_name("cdp"))
    with tempfile.TemporaryDirectory() as name:
        project(Path(name), args.resources)
        commands = {
            "a bare interpreter": [sys.executable, "-c", "pass"],
            "cdp --version": [cdp, "--version"],
            "cdp --help": [cdp, "--help"],
            f"cdp validate, {args.resources} resources": [cdp, "validate", "--project-dir", name],
            f"cdp compile, {args.resources} resources": [cdp, "compile", "-q", "--project-dir", name],
        }
        seconds: dict[str, list[float]] = {title: [] for title in commands}
        for _ in range(args.rounds):
            for title, command in commands.items():
                started = time.perf_counter()
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                seconds[title].append(time.perf_counter() - started)
                assert done.returncode == 0, done.stderr
    print(f"whole processes, medians of {args.rounds}, Python {platform.python_version()}")
    for title, taken in seconds.items():
        print(f"  {title:<32} {statistics.median(taken):6.2f} s")


if __name__ == "__main__":
    main()
