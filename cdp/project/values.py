"""Load-time Jinja in YAML values: `{{ var('x') }}`, `{{ target.name }}`. Sandboxed, bounded, in values only.

A value that is one single expression keeps its type; anything else becomes text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cdp.errors import Mark, suggestion
from cdp.project.reader import Map, Seq
from cdp.project.reading import Reading

MAX_LENGTH = 100_000


class _Bounded(ImmutableSandboxedEnvironment):
    """A sandbox in which no expression can grow without bound."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [value if isinstance(value, int) else len(value) for value in (left, right) if hasattr(value, "__len__")
                 or isinstance(value, int)]  # fmt: skip
        if (
            operator == "**"
            or (operator == "%" and isinstance(left, str))
            or (operator == "*" and len(sizes) == 2 and abs(sizes[0] * sizes[1]) > MAX_LENGTH)
        ):
            raise jinja2.TemplateRuntimeError(f"`{operator}` may grow too large here")
        return super().call_binop(context, operator, left, right)


class _Unknown(Exception):
    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name)
        self.name = name
        self.known = known


def render_values(data: Any, names: Mapping[str, Any], reading: Reading, mark: Mark | None = None) -> Any:
    """`data` with every text that holds `{{` rendered in place; mistakes are noted."""
    environment = _Bounded(undefined=jinja2.StrictUndefined, finalize=_scalar)
    environment.globals.clear()
    environment.globals.update(names)
    return _walk(data, environment, reading, mark)


# what an expression is made of: no attributes but those of the target, no methods, no filters that grow
_FILTERS = frozenset(
    {"abs", "d", "default", "first", "float", "int", "last", "length", "lower", "round", "string", "trim", "upper"}
)


def _checked(tree: nodes.Node, names: Mapping[str, Any]) -> None:
    """Raise where an expression reaches further than names, literals and operators."""
    for node in tree.find_all(nodes.Node):
        wrong = None
        if isinstance(node, nodes.Call) and not (isinstance(node.node, nodes.Name) and node.node.name in names):
            wrong = "a call of something else than var()"
        elif isinstance(node, nodes.Getattr | nodes.Getitem) and not (
            isinstance(node.node, nodes.Name) and node.node.name == "target"
        ):
            wrong = "an attribute of something else than target"
        elif isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            wrong = f"the filter `{node.name}`"
        if wrong is not None:
            raise jinja2.TemplateRuntimeError(f"{wrong} may not stand here")


def _scalar(value: Any) -> Any:
    """What may become part of a text."""
    if isinstance(value, str | int | float | jinja2.Undefined):
        return value
    what = "nothing" if value is None else f"a {type(value).__name__}"
    raise jinja2.TemplateRuntimeError(f"{what} within a text")


def project_names(variables: Mapping[str, Any], target: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a project's values may call: `var(name)` and `target`."""

    def var(name: str) -> Any:
        if name not in variables:
            raise _Unknown(name, tuple(variables))
        return variables[name]

    def env(name: str, *_: Any) -> Any:
        raise jinja2.TemplateRuntimeError("env() works in profiles.yml only")

    return {"var": var, "env": env, "target": dict(target or {"name": "none"})}


def _walk(data: Any, environment: _Bounded, reading: Reading, mark: Mark | None) -> Any:
    if isinstance(data, Map):
        for key in data:
            data[key] = _walk(data[key], environment, reading, data.values_at[key])
    elif isinstance(data, Seq):
        for index, item in enumerate(data):
            data[index] = _walk(item, environment, reading, data.values_at[index])
    elif isinstance(data, str) and ("{{" in data or "{%" in data):
        return _render(data, environment, reading, mark)
    return data


def _render(text: str, environment: _Bounded, reading: Reading, mark: Mark | None) -> Any:
    if "{%" in text:
        reading.problem("CDP110", "a statement `{%`", mark, "only expressions `{{ … }}` stand in values")
        return text
    inner = text.strip()
    try:
        _checked(environment.parse(text), environment.globals)
        if inner.startswith("{{") and inner.endswith("}}") and inner.count("{{") == 1:
            value = environment.compile_expression(inner[2:-2], undefined_to_none=False)()
            if isinstance(value, jinja2.Undefined):
                raise jinja2.UndefinedError(f"{value._undefined_name!r} is undefined")
        else:
            value = environment.from_string(text).render()
    except _Unknown as unknown:
        reading.problem(
            "CDP110", f"there is no variable `{unknown.name}`", mark, suggestion(unknown.name, unknown.known, "vars")
        )
        return text
    except (jinja2.TemplateError, TypeError, ArithmeticError, LookupError, ValueError) as error:
        reading.problem("CDP110", f"this template fails: {error}", mark, "a value may use var('x') and target.name")
        return text
    if value is None or isinstance(value, str | int | float | bool):
        if isinstance(value, str) and len(value) > MAX_LENGTH:
            reading.problem("CDP110", f"the value has {len(value):,} characters", mark)
            return text
        return value
    if isinstance(value, list) and all(isinstance(item, str | int | float | bool) for item in value):
        return list(value)
    reading.problem("CDP110", f"the value is a {type(value).__name__}, not a scalar or a list of them", mark)
    return text
