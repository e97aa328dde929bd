"""`make demo`: two days of the example shop, from raw files to a CRM that only hears what changed.

A small HTTP receiver, started here on a free port of this machine, plays the CRM: it keeps contacts and list members
and counts requests and rows. Then `cdp run` is called three times as you would type it: on day 1, on day 2, and once
more with nothing new. Everything that is printed is read back from the receiver and from the warehouse file.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

SHOP = Path(__file__).resolve().parent / "shop"
NOT_COPIED = shutil.ignore_patterns("__pycache__", "data", "out", "target", "*.duckdb*")
DAYS = {1: "2026-03-02T00:00:00Z", 2: "2026-03-03T00:00:00Z"}
SOURCES = ("contacts.csv", "orders_*.csv", "events_*.jsonl", "subscriptions.csv")
SCHEMA = "cdp_demo"
KNOWN = "(known)"  # beside the audiences: profiles with more than a browser's id


@dataclass
class Crm:
    """What the receiver keeps, and what it has counted since the last `take()`."""

    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    requests: int = 0
    written: int = 0
    put_on: int = 0
    taken_off: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, path: str, rows: list[dict[str, Any]]) -> None:
        """One request."""
        with self.lock:
            self.requests += 1
            for row in rows:
                contact = row["match"]["external_id"]
                if path == "/contacts":
                    self.written += 1
                    self.contacts.setdefault(contact, {}).update(row["fields"])
                elif path == "/lists/add":
                    self.put_on += 1
                    self.members.add(contact)
                elif path == "/lists/remove":
                    self.taken_off += 1
                    self.members.discard(contact)

    def take(self) -> tuple[int, int, int, int]:
        """Requests, contacts written, put on the list, taken off it; then counts from nought again."""
        with self.lock:
            counted = (self.requests, self.written, self.put_on, self.taken_off)
            self.requests = self.written = self.put_on = self.taken_off = 0
            return counted


@contextmanager
def receiver(crm: Crm) -> Iterator[str]:
    """The address of an HTTP server on this machine that hands what it is sent to `crm`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            crm.hear(self.path, body["rows"])
            answer = b"{}"
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def generator(script: Path) -> ModuleType:
    """The shop's generator of data as a module."""
    spec = importlib.util.spec_from_file_location("shop_generate", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def call(project: Path, url: str, as_of: str, console: Console) -> float:
    """Call `cdp run` as a user would; the seconds that it took. Ends the demo where it fails."""
    arguments = ["run", "--target", "demo", "--as-of", as_of]
    console.print(f"[bold]$ cdp {' '.join(arguments)}[/bold]")
    begun = time.perf_counter()
    environ = {**os.environ, "CDP_DEMO_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", "cdp.cli", *arguments, "--quiet"],
        cwd=project,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    taken = time.perf_counter() - begun
    console.print(done.stdout.rstrip(), markup=False, highlight=False, style="dim", soft_wrap=True)
    console.print()
    if done.returncode:
        sys.exit(done.returncode)
    return taken


def records(project: Path) -> dict[str, int]:
    """How many records each source has."""
    counts = {}
    for pattern in SOURCES:
        lines = sum(len(path.read_text().splitlines()) for path in (project / "data").glob(pattern))
        heads = 0 if pattern.endswith("jsonl") else len(list((project / "data").glob(pattern)))
        counts[pattern.split(".")[0].removesuffix("_*")] = lines - heads
    return counts


def members(project: Path) -> dict[str, set[str]]:
    """Who is in each audience, and under `customer` all profiles."""
    with duckdb.connect(str(project / "shop.duckdb"), read_only=True) as warehouse:
        tables = [
            name
            for (name,) in warehouse.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY 1", [SCHEMA]
            ).fetchall()
            if name == "customer" or (name.startswith("audience_") and name != "audience_members")
        ]
        found = {}
        for table in tables:
            ids = warehouse.execute(f'SELECT #1 FROM {SCHEMA}."{table}"').fetchall()
            found[table.removeprefix("audience_")] = {str(entity) for (entity,) in ids}
        known = f"SELECT #1 FROM {SCHEMA}.customer WHERE coalesce(user_id, crm_id, loyalty_id, email) IS NOT NULL"
        return found | {KNOWN: {str(entity) for (entity,) in warehouse.execute(known).fetchall()}}


def people_table(sources: dict[str, int], days: list[dict[str, set[str]]]) -> Table:
    """From records to people."""
    table = Table(title="Records become people (day 1)", title_justify="left")
    table.add_column("source")
    table.add_column("records", justify="right")
    for name, count in sources.items():
        table.add_row(name, f"{count:,}")
    table.add_section()
    table.add_row("profiles", f"{len(days[0]['customer']):,}")
    table.add_row("… of them known", f"{len(days[0][KNOWN]):,}")
    return table


def audience_table(days: list[dict[str, set[str]]]) -> Table:
    """Sizes, and who came and went overnight."""
    table = Table(title="People become audiences", title_justify="left")
    table.add_column("audience")
    for column in ("day 1", "day 2", "entered", "left"):
        table.add_column(column, justify="right")
    for name in days[1]:
        if name not in ("customer", KNOWN):
            first, second = days[0].get(name, set()), days[1][name]
            row = (len(first), len(second), len(second - first), len(first - second))
            table.add_row(name, *(f"{number:,}" for number in row))
    return table


def delivery_table(runs: list[tuple[str, float, tuple[int, int, int, int], int]]) -> Table:
    """What reached the CRM."""
    table = Table(title="Only the differences travel (what the CRM received)", title_justify="left")
    table.add_column("run")
    for column in ("seconds", "requests", "written", "put on list", "taken off", "list now"):
        table.add_column(column, justify="right")
    for name, taken, counted, size in runs:
        table.add_row(name, f"{taken:.1f}", *(f"{number:,}" for number in counted), f"{size:,}")
    return table


def main() -> None:
    """Run the demo; it ends non-zero where the CRM does not hold what the warehouse says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="an empty folder for the project [default: a temporary one]")
    options = parser.parse_args()
    terminal = Console()
    console = Console(width=max(terminal.width, 100)) if not terminal.is_terminal else terminal
    project = options.keep or Path(tempfile.mkdtemp(prefix="cdp-demo-"))
    shutil.copytree(SHOP, project, ignore=NOT_COPIED, dirs_exist_ok=True)
    shop = generator(project / "generate.py")
    crm = Crm()
    console.print(f"The example shop lies in {project}; a receiver on this machine plays its CRM.\n", highlight=False)
    days: list[dict[str, set[str]]] = []
    runs: list[tuple[str, float, tuple[int, int, int, int], int]] = []
    with receiver(crm) as url:
        for day, as_of in DAYS.items():
            shop.write(project / "data", seed=7, people=options.people, day=day)
            if day == 1:
                sources = records(project)
            taken = call(project, url, as_of, console)
            days.append(members(project))
            runs.append((f"day {day}", taken, crm.take(), len(crm.members)))
        taken = call(project, url, DAYS[2], console)
        runs.append(("day 2 again", taken, crm.take(), len(crm.members)))
    for table in (people_table(sources, days), audience_table(days), delivery_table(runs)):
        console.print(table)
        console.print()
    if crm.members != days[1]["regulars"] or runs[2][2][0]:
        console.print("[red]The CRM's list is not the audience `regulars`: something went wrong.[/red]")
        sys.exit(1)
    console.print("The list in the CRM is, member by member, the audience `regulars`. Look at next:\n")
    path = [] if shutil.which("cdp") else [f"export PATH={Path(sys.executable).parent}:$PATH"]
    for line in (
        *path,
        f"cd {project} && export CDP_TARGET=demo",
        "cdp preview regulars --as-of 2026-03-03      # what each condition keeps",
        "cdp logs crm_regulars                        # what the CRM answered, row by row",
        "cdp compile && ls target/compiled/demo       # the SQL that runs in your warehouse",
        "$EDITOR audiences.yml && cdp validate        # change a condition, or make a mistake",
        "duckdb shop.duckdb 'FROM cdp_demo.customer'  # tables, like any other",
    ):
        console.print(f"  {line}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
