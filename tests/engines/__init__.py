"""Every engine that tests can run on, each as a module: `start(base)` gives its server's address, once for each worker;
`fresh(address, folder)` gives an empty database of it, as the `warehouse:` of a profiles.yml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cdp.warehouse.base import Warehouse
from cdp.warehouse.engines import settings_of

ENGINES = ("duckdb", "postgres", "bigquery", "redshift", "snowflake", "spark")
# what a profile must say so that `compile` can write for an engine which is not here
OFFLINE = {
    "snowflake": {"account": "a", "user": "u", "password": "p", "warehouse": "w", "database": "d"},
    "bigquery": {"project": "p"},
    "redshift": {"dsn": "host=h"},
    "spark": {"host": "h"},
}


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """The marks of a test on that engine."""
    return [] if name in ("duckdb", "postgres") else [pytest.mark.engines]


PARAMS = [pytest.param(name, marks=marks_of(name)) for name in ENGINES]


class Unavailable(Exception):
    """The engine cannot be started here; the message says why."""


def module_of(name: str) -> Any:
    """The module of an engine; what stands for it where the environment names a real account."""
    from tests.engines import live

    profile = live.told(name)
    return import_module(f"tests.engines.{name}") if profile is None else live.Live(name, profile)


class Engines:
    """The engines of one worker, each started when it is first asked for; skips the test, with the reason, where an
    engine cannot be."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._stack = ExitStack()
        self._addresses: dict[str, str | Unavailable] = {}

    def address(self, name: str) -> str:
        """Where the engine's server listens."""
        if name not in self._addresses:
            try:
                started = module_of(name).start(self._base)
                self._addresses[name] = self._stack.enter_context(started)
            except Unavailable as reason:
                self._addresses[name] = reason
        found = self._addresses[name]
        if isinstance(found, Unavailable):
            pytest.skip(f"no {name}: {found}")
        return found

    @contextmanager
    def fresh(self, name: str, folder: Path) -> Iterator[dict[str, Any]]:
        """The profile of a database of its own; what needs a folder lies in `folder`."""
        with module_of(name).fresh(self.address(name), folder) as profile:
            yield profile

    def close(self) -> None:
        """Stop all servers."""
        self._stack.close()


def connected(profile: dict[str, Any], folder: Path, **more: Any) -> Warehouse:
    """The warehouse that a profile means, not yet connected."""
    return settings_of(profile["type"]).model_validate({**profile, **more}).connect(folder)
