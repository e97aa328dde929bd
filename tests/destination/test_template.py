"""Templates fill leaves and never make structure."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.destination.template import (
    ROW_NAMES,
    RUN_NAMES,
    Scope,
    TemplateError,
    Unfit,
    check,
    header_part,
    path_part,
    structure,
    text_of,
)
from tests.destination.making import change

SCOPE = Scope({"config": {"token": "t0k", "id_type": "email"}, "list": "L1", "object": None}, lambda row: row.fields)


def filled(node: Any, **more: Any) -> Any:
    return structure(node, SCOPE)(change(**more), [1, 2])


def test_a_leaf_that_is_one_hole_keeps_its_type() -> None:
    fields = {"n": 1, "x": 1.5, "yes": True, "nothing": None, "many": [1, {"a": 2}]}
    assert filled({"all": "{{ fields }}", "n": "{{ fields.n }}"}, fields=fields) == {"all": fields, "n": 1}


def test_a_hole_within_a_text_is_text() -> None:
    assert filled("v={{ fields.yes }}, {{ fields.nothing }}.", fields={"yes": True, "nothing": None}) == "v=true, ."


def test_a_field_that_is_not_mapped_leaves_its_key_out() -> None:
    assert filled({"a": "{{ fields.a }}", "b": ["{{ fields.b }}", 1]}, fields={"a": 1}) == {"a": 1, "b": [1]}


def test_a_missing_match_id_makes_the_row_unfit() -> None:
    with pytest.raises(Unfit, match="no match id `phone`"):
        filled("{{ match.phone }}")


def test_a_setting_can_choose_the_match_id() -> None:
    assert filled("{{ match[config.id_type] }}") == "k1@example.com"


def test_the_rows_are_put_in_as_they_are() -> None:
    assert filled({"rows": "{{ rows }}", "list": "{{ list }}"}) == {"rows": [1, 2], "list": "L1"}


def test_an_object_nobody_named_leaves_its_key_out() -> None:
    assert filled({"object": "{{ object }}", "a": 1}) == {"a": 1}


def test_data_is_never_read_as_a_template() -> None:
    assert filled({"name": "{{ fields.name }}"}, fields={"name": "{{ config.token }}"}) == {
        "name": "{{ config.token }}"
    }


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_cannot_break_out_of_its_place(text: str) -> None:
    body = filled({"name": "{{ fields.name }}", "admin": False}, fields={"name": text})
    assert orjson.loads(orjson.dumps(body)) == {"name": text, "admin": False}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_stays_within_its_part_of_the_path(text: str) -> None:
    make = text_of("/users/{{ match.email }}/x", SCOPE, path_part)
    if text in ("", ".", ".."):
        with pytest.raises(Unfit):
            make(change(match={"email": text}), [])
        return
    path = make(change(match={"email": text}), [])
    assert path.count("/") == 3
    assert not set("?#&%20\r\n ") & set(path.replace("%", "")) - set("20")


@pytest.mark.parametrize("text", ["a\r\nX-Admin: 1", "a\nb", "\x00", "é", "tab\t"])
def test_a_header_refuses_line_breaks_and_what_is_not_ascii(text: str) -> None:
    with pytest.raises(Unfit, match="printable ASCII"):
        header_part(text)


@pytest.mark.parametrize(
    ("node", "message", "hint"),
    [
        ("{{ macth.email }}", "`macth` is not known here", "did you mean `match`?"),
        ("{{ config.tokn }}", "`config.tokn` is no setting", "did you mean `token`?"),
        ("{{ match.email|upper }}", "`{{ match.email|upper }}` is no name", "a hole holds one name"),
        ("{{ 7*7 }}", "`{{ 7*7 }}` is no name", "a hole holds one name"),
        ("{{ match.__class__.__mro__ }}", "is no name", "a hole holds one name"),
        ("{{ config }}", "`config` alone", "name a setting"),
        ("{{ row_key.x }}", "`row_key` has no parts", None),
        ("{{ match.email", "`{{` without its `}}`", None),
        ({"{{ match.email }}": 1}, "a key cannot be a template", "only values"),
    ],
)
def test_a_wrong_hole_is_refused_when_the_description_is_read(node: Any, message: str, hint: str | None) -> None:
    with pytest.raises(TemplateError) as caught:
        check(node, [*ROW_NAMES, *RUN_NAMES], ["token", "id_type"])
    assert message in str(caught.value)
    assert hint is None or hint in (caught.value.hint or "")
