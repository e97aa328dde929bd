"""From a profile's entry to a destination: what is wrong with it, or the connection."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from cdp.destination import template
from cdp.destination.catalogue import consistency, find, folders
from cdp.destination.description import Description, Setting
from cdp.destination.description import share as share_of
from cdp.destination.outcome import Operation
from cdp.destination.problems import mark, problems
from cdp.errors import Problem, ProjectError, suggestion

if TYPE_CHECKING:
    from cdp.destination.base import Destination

_TAKEN_BY_EVERY_API = ("rate", "concurrency", "timeout")  # keys of a description that any entry may set
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONNECTION = {"share": "text", "ca_file": "text", "allow_http": "bool"}


@dataclass(frozen=True)
class Entry:
    """A profile's entry, checked: the description with what the entry sets, and its settings."""

    description: Description
    values: Mapping[str, Any] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    share: float = 1.0
    ca_file: str | None = None


def destination(name: str, config: Mapping[str, Any], project_dir: Path) -> Destination:
    """The destination `name` of a profile. `config` is its entry, filled in; relative paths start in `project_dir`.

    Raises ProjectError (CDP401 to CDP414) for a wrong entry or a wrong destination.yml. Opens nothing.
    """
    entry = settle(name, config, project_dir)
    if entry.description.kind == "file":
        from cdp.destination.file import FileDestination

        return FileDestination(name, entry.description, entry.values, project_dir)
    from cdp.destination.http import HttpDestination, Settings  # httpx takes 0.1 s: only where something is sent

    return HttpDestination(name, entry.description, Settings(entry.values, entry.secrets, entry.share, entry.ca_file))


def check(
    config: Mapping[str, Any],
    *,
    operations: Iterable[Operation],
    mode: str,
    list: str | None = None,
    object: str | None = None,
    match: Iterable[str] | None = None,
    name: str = "destination",
    project_dir: Path | None = None,
) -> list[Problem]:
    """Everything wrong with a sync to this entry, offline: the entry itself, and what the sync asks of it.

    `operations` are those the sync's mode needs, `match` the identifiers it maps (None: not checked).
    """
    try:
        entry = settle(name, config, project_dir)
    except ProjectError as error:
        return [*error.problems]
    description = entry.description
    wanted = list
    able = sorted(description.operations) if description.kind == "http" else [*_ALL]
    return [
        *_operation_problems(name, description, able, operations, mode),
        *_list_problems(name, entry, able, wanted, match),
        *_object_problems(name, description, object),
        *_match_problems(name, description, match),
    ]


_ALL: tuple[Operation, ...] = ("upsert", "add", "remove", "delete", "append")


def _operation_problems(
    name: str, description: Description, able: Sequence[str], operations: Iterable[Operation], mode: str
) -> list[Problem]:
    hint = f"it has: {', '.join(able) or 'none'}"
    return [
        Problem(
            "CDP405",
            f"`{name}` ({description.name}) has no operation `{operation}`, which mode `{mode}` needs",
            hint=hint,
        )
        for operation in operations
        if operation not in able
    ]


def _object_problems(name: str, description: Description, wanted: str | None) -> list[Problem]:
    objects = description.objects
    if wanted is None or objects is None or wanted in objects:
        return []
    message = f"`{name}` ({description.name}) has no object `{wanted}`"
    return [Problem("CDP407", message, hint=suggestion(wanted, objects, "objects"))]


def _list_problems(
    name: str, entry: Entry, able: Iterable[str], wanted: str | None, match: Iterable[str] | None
) -> list[Problem]:
    kind, facts = entry.description.name, entry.description.membership
    if wanted is None:
        return []
    if not {"add", "remove"} & set(able):
        return [Problem("CDP406", f"`{name}` ({kind}) has no lists: take `list: {wanted}` away")]
    if facts is None:
        return []
    found = []
    if facts.pattern is not None and not re.fullmatch(facts.pattern, wanted):
        found.append(Problem("CDP406", f"`list: {wanted}` does not fit `{name}` ({kind}): {facts.about}"))
    if facts.needs is not None and match is not None:
        needed = template.constant(facts.needs, _scope(entry.values))
        if needed not in match:
            message = f"lists of `{name}` ({kind}) go by `{needed}`, which `match` does not have"
            found.append(Problem("CDP406", message))
    return found


def _match_problems(name: str, description: Description, match: Iterable[str] | None) -> list[Problem]:
    if match is None:
        return []
    wanted = [*match]
    found = []
    if description.match == "one" and len(wanted) != 1:
        found.append(Problem("CDP407", f"`{name}` ({description.name}) takes exactly one identifier in `match`"))
    if description.identifiers is not None:
        known = [*description.identifiers]
        found += [
            Problem(
                "CDP407",
                f"`{one}` is no identifier of `{name}` ({description.name})",
                hint=suggestion(one, known, "identifiers"),
            )
            for one in wanted
            if one not in known
        ]
    return found


def settle(name: str, config: Mapping[str, Any], project_dir: Path | None = None) -> Entry:
    """The entry with its type's description. Raises ProjectError with every mistake."""
    kind = config.get("type")
    if not isinstance(kind, str):
        hint = suggestion("", [*folders(project_dir)], "types")
        raise ProjectError.of("CDP401", f"destination `{name}` has no `type`", hint=hint, mark=mark(config, []))
    try:
        description = find(kind, project_dir)
    except ProjectError as error:
        if error.code != "CDP401":
            raise
        raise ProjectError.of(
            "CDP401", f"destination `{name}`: {error.message}", hint=error.hint, mark=mark(config, ["type"])
        ) from None
    where = f"destination `{name}`"
    settable = {*description.from_profile, *(_TAKEN_BY_EVERY_API if description.kind == "http" else ())}
    connection = _CONNECTION if description.kind == "http" else {}
    found = [
        Problem(
            "CDP402",
            f"{where}: unknown setting `{key}`",
            mark(config, [key], key=True),
            suggestion(key, ["type", *description.config, *sorted(settable), *connection], f"{kind} takes"),
            length=len(key),
        )
        for key in config
        if key not in {"type", *description.config, *settable, *connection}
    ]
    values = _values(config, description, where, found)
    given = {key: config[key] for key in config if key in settable}
    if given:
        description = _with_entry(description, given, config, where, found)
    found += _missing(description, where, config)
    share = _connection(config, connection, where, found)
    if not found:
        found += _address_problems(description, values, config, where)
        found += _header_problems(description, values, config, where)
    if found:
        raise ProjectError(found)
    secrets = (*_secrets(description, values), *_secret_headers(config))
    return Entry(description, values, secrets, share, config.get("ca_file"))


def _values(config: Mapping[str, Any], description: Description, where: str, found: list[Problem]) -> dict[str, Any]:
    """The settings as templates see them."""
    values: dict[str, Any] = {}
    for key, setting in description.config.items():
        value = config.get(key)
        if value is None and setting.required:
            about = f": {setting.about}" if setting.about else ""
            found.append(Problem("CDP403", f"{where}: `{key}` is missing{about}", mark(config, [])))
            continue
        value = setting.default if value is None else value
        wrong = _wrong(setting, value)
        if wrong:
            found.append(Problem("CDP404", f"{where}: `{key}` {wrong}", mark(config, [key])))
        elif value is not None:
            chosen = setting.choices
            values[key] = chosen[str(value)] if isinstance(chosen, dict) and chosen else value
    return values


def _wrong(setting: Setting, value: Any) -> str | None:
    """What is wrong with a setting's value; the value itself may be a secret and is not shown."""
    if value is None:
        return None
    if setting.type == "choice":
        return None if value in [*setting.choices] else f"must be one of: {', '.join(setting.choices)}"
    if setting.type == "bool":
        return None if isinstance(value, bool) else "must be true or false"
    if setting.type == "int":
        return None if isinstance(value, int) and not isinstance(value, bool) else "must be a whole number"
    if not isinstance(value, str):
        return "must be text (put it in quotes)"
    if value == "" and setting.required:
        return "is empty"
    return None if value.isprintable() else "holds control characters or line breaks"


def _with_entry(
    description: Description, given: Mapping[str, Any], config: Mapping[str, Any], where: str, found: list[Problem]
) -> Description:
    """The description with the keys that the entry sets."""
    data = {**description.model_dump(by_alias=True, exclude_unset=True), **given}
    try:
        merged = Description.model_validate(data)
    except ValidationError as error:
        found += problems(error, _placed(data, config), Description, where=where, unknown="CDP402", wrong="CDP404")
        return description
    found += consistency(merged, config, where=where)
    return merged


def _placed(data: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The merged data with the places of the entry, where it has them."""

    class Placed(dict[str, Any]):
        at = getattr(config, "at", None)
        keys_at = getattr(config, "keys_at", {})
        values_at = getattr(config, "values_at", {})

    return Placed(data)


def _missing(description: Description, where: str, config: Mapping[str, Any]) -> list[Problem]:
    if description.kind == "http" and not description.operations and not config.get("operations"):
        hint = "operations: {upsert: {method: POST, path: /batch, batch: {items: 100}, body: {rows: …}}}"
        return [Problem("CDP403", f"{where}: `operations` is missing", mark(config, []), hint)]
    return []


def _connection(config: Mapping[str, Any], known: Mapping[str, str], where: str, found: list[Problem]) -> float:
    """The share of the account's rate; mistakes of the other connection settings are noted."""
    for key, kind in known.items():
        value = config.get(key)
        wrong = value is not None and (not isinstance(value, bool) if kind == "bool" else isinstance(value, bool))
        if wrong or (key == "ca_file" and value is not None and not Path(str(value)).is_file()):
            said = {"share": "must be a share such as 50%", "ca_file": "is no file"}.get(key, "must be true or false")
            found.append(Problem("CDP404", f"{where}: `{key}` {said}", mark(config, [key])))
            return 1.0
    if config.get("share") is None or "share" not in known:
        return 1.0
    try:
        return share_of(config["share"])
    except ValueError as error:
        found.append(Problem("CDP404", f"{where}: `share`: {error}", mark(config, ["share"])))
        return 1.0


def _address_problems(
    description: Description, values: Mapping[str, Any], config: Mapping[str, Any], where: str
) -> list[Problem]:
    """An address must be https (plain http: this machine only), without a login in it, and no link-local one."""
    if description.kind != "http":
        return []
    url = template.constant(description.base_url, _scope(values))
    at = mark(config, ["url"])

    def wrong(message: str, hint: str | None = None) -> list[Problem]:
        return [Problem("CDP409", f"{where}: {message}", at, hint)]

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return wrong("its address is no URL", "https://host/path")
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable() or " " in url:
        return wrong("its address is no URL", "https://host/path")
    if parts.username is not None or parts.password is not None:
        return wrong("a login in the address", "use `auth: {kind: basic, username: …, password: …}`")
    if parts.query or parts.fragment:
        return wrong("an address with `?` or `#`", "a query belongs to the operation: `query: {…}`")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None and (address.is_link_local or address.is_multicast or address.is_unspecified):
        return wrong(f"{host} is no address of a service")
    loopback = host == "localhost" or (address is not None and address.is_loopback)
    if parts.scheme == "http" and not loopback and config.get("allow_http") is not True:
        return wrong("plain http would send personal data unencrypted", "use https, or say `allow_http: true`")
    return []


def _scope(values: Mapping[str, Any]) -> template.Scope:
    return template.Scope({"config": values}, lambda change: change.fields)


def _header_problems(
    description: Description, values: Mapping[str, Any], config: Mapping[str, Any], where: str
) -> list[Problem]:
    """Names and values of headers that HTTP cannot carry; the values may be secrets and are not shown."""
    auth = description.auth
    pairs = [(("headers", name), name, text) for name, text in description.headers.items()]
    if auth.kind == "bearer":
        pairs.append((("auth", "token"), "Authorization", auth.token))
    if auth.kind == "api_key" and auth.place == "header":
        pairs.append((("auth", "value"), auth.name, auth.prefix + auth.value))
    found = []
    for path, name, text in pairs:
        try:
            template.constant(text, _scope(values), template.header_part)
            wrong = None if _HEADER_NAME.fullmatch(name) and _printable(text) else "a header takes printable ASCII only"
        except template.Unfit as error:
            wrong = str(error)
        if wrong:
            found.append(Problem("CDP404", f"{where}: `{'.'.join(path)}`: {wrong}", mark(config, path)))
    return found


def _printable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _secrets(description: Description, values: Mapping[str, Any]) -> list[str]:
    return [str(values[key]) for key, setting in description.config.items() if setting.secret and key in values]


def _secret_headers(config: Mapping[str, Any]) -> list[str]:
    """Header values of an entry count as secrets: tokens travel in them."""
    headers = config.get("headers")
    return [str(value) for value in headers.values() if len(str(value)) >= 8] if isinstance(headers, Mapping) else []
