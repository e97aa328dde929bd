"""The types of snippets: what is told, and what does not go together."""

from __future__ import annotations

import pytest

from cdp.project.snippet import SnippetErrors, expression, safe_arithmetic, type_of


def test_the_type_of_an_expression_is_told_as_far_as_it_can_be() -> None:
    types = {"n": "int", "d": "decimal", "plan.price": "decimal", "day": "date"}.get
    for text, kind in [
        ("n + 1", "int"), ("n / 2", "decimal"), ("n * plan.price", "decimal"), ("n > 1", "bool"), ("lower(x)", "text"),
        ("coalesce(n, 1.5)", "decimal"), ("x", None), ("case when x then n else n end", "int"), ("day + 1", "date"),
        ("day - day", "int"), ("as_of", "timestamp"), ("as_of - interval '1 day'", "timestamp"), ("1e3", "float"),
        ("cast(x as date)", "date"), ("j ->> 'a'", "text"), ("md5(x)", "text"), ("x is null", "bool"),
        ("round(d, 2)", "decimal"),
    ]:  # fmt: skip
        assert type_of(expression(text, "duckdb").tree, types) == kind, text


@pytest.mark.parametrize(
    ("text", "message", "col"),
    [
        ("b and t = 5", "int and text cannot be compared", 7),
        ("t + 1", "arithmetic with text", 1),
        ("ts - ts", "arithmetic with times", 1),
        ("n in (1, 'x')", "int and text cannot be compared", 1),
        ("lower(n)", "a text function over int", 1),
        ("n::date", "int cannot become date", 1),
        ("d > 'soon'", "`soon` is no date", 1),
        ("b > 1", "bool and int cannot be compared", 1),
    ],
)
def test_types_that_do_not_go_together_are_told(text: str, message: str, col: int) -> None:
    types = {"n": "int", "t": "text", "ts": "timestamp", "d": "date", "b": "bool"}.get
    with pytest.raises(SnippetErrors) as caught:
        safe_arithmetic(expression(text, "duckdb").tree, types)
    problem = caught.value.problems[0]
    assert (problem.code, problem.message, problem.col) == ("CDP126", message, col)
