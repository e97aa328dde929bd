"""A destination.yml is read strictly; the page that describes it is complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdp.destination import Delivery, catalogue, connect
from cdp.destination.catalogue import load
from cdp.destination.description import Check, Description, duration, keys, share, size
from cdp.errors import ProjectError
from cdp.shipped import shipped
from tests.destination.making import batch, mocked, run, sent, statuses, webhook
from tests.receiver import Receiver

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding-a-destination.md"
_TESTS = re.compile(r"answers\.(when|rows\.(accepted|retry|unknown))\.")


def example(number: int = 0) -> str:
    return re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[number]


def written(project: Path, text: str, name: str = "acme") -> Path:
    folder = project / "destinations" / name
    folder.mkdir(parents=True)
    (folder / "destination.yml").write_text(text, encoding="utf-8")
    return folder


def test_every_key_is_described_and_nothing_else() -> None:
    described = re.findall(r"^\| `([^`|]+)` \|", PAGE.read_text(encoding="utf-8").split("## Every key")[1], re.M)
    wanted = dict.fromkeys(_TESTS.sub("<test>.", key) for key in keys())
    assert described == sorted(set(described), key=described.index)
    assert sorted(described) == sorted(wanted)
    assert {key.removeprefix("<test>.") for key in described if key.startswith("<test>.")} == {
        info.alias or name for name, info in Check.model_fields.items()
    }


def test_the_worked_example_works(tmp_path: Path) -> None:
    written(tmp_path, example())
    with Receiver() as receiver:
        text = example().replace("https://api.acme.example/v2", receiver.url)
        (tmp_path / "destinations/acme/destination.yml").write_text(text)
        to = connect.destination("crm", {"type": "acme", "token": "t0k"}, tmp_path)
        answers = run(sent(to, batch(2), batch(2, "add"), delivery=Delivery("s", "r", "", list="L1")))
        assert [statuses(answer) for answer in answers] == [["accepted"] * 2] * 2
        assert receiver.requests[0].body["inputs"][0] == {
            "email": "k0@example.com",
            "properties": {"name": "Name k0"},
        }
        assert receiver.requests[1].body == {"add": ["k0@example.com", "k1@example.com"]}


def test_the_webhook_of_the_page_is_valid() -> None:
    entry = yaml.safe_load(example(2).replace("{{ env('HOOK_TOKEN') }}", "t0k"))["hook"]
    assert mocked(lambda request: None, entry).operations == {"upsert", "delete"}  # type: ignore[arg-type,return-value]


def test_the_shipped_destinations_are_right() -> None:
    assert [description.name for description in catalogue()] == ["customerio", "file", "webhook"]
    assert all(description.docs is not None for description in catalogue())


def test_a_projects_own_destination_comes_before_the_shipped_one(tmp_path: Path) -> None:
    written(tmp_path, example().replace("name: acme", "name: customerio"), "customerio")
    titles = {description.name: description.title for description in catalogue(tmp_path)}
    assert titles["customerio"] == "Acme Mail"
    assert set(titles) == {"customerio", "file", "webhook"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "rate:",
            "rates:",
            "CDP411: destination `acme`: unknown key `rates`\n     9 | rates: [{requests: 100, per: 10s}]\n"
            "       | ^^^^^\n  hint: did you mean `rate`?",
        ),
        ("items: 100,", "item: 100,", "CDP411: destination `acme`: unknown key `operations.upsert.batch.item`"),
        ("kind: bearer", "kind: bearerer", "CDP412"),
        ('token: "{{ config', 'tokn: "{{ config', "unknown key `auth.tokn`"),
        ("per: 10s", "per: soon", "CDP412: destination `acme`: `rate.0.per`: a duration such as 10s, 1m or 1h"),
        ("4MB", "much", "`operations.upsert.batch.bytes`: a size such as 500KB or 4MiB is expected"),
        ("status: 207", "status: 2077", "`answers.0.status`: a status such as 207, a class such as 4xx"),
        ("locator: key_field", "locator: by_key", "`answers.0.rows.locator`"),
        ("equals: QUOTA", "equal: QUOTA", "unknown key `answers.1.when.equal`"),
        ("then: throttle", "then: wait", "`answers.1.then`"),
        ("key: email, ", "", "`answers.0.rows`: `key_field` needs `key`"),
        ("path: /contacts/batch", "path: contacts", "a path begins with `/`"),
        ("config.token }}", "config.tokn }}", "CDP413: destination `acme`: `auth`: a hole that names nothing"),
        ('{{ match.email }}", prop', '{{ mtch.email }}", prop', "CDP413: destination `acme`: `operations.upsert.row`"),
        ('inputs: "{{ rows }}"', "inputs: 1", "CDP414: destination `acme`: `operations.upsert`: the body of a batch"),
        (
            "path: /contacts/batch",
            'path: "/c/{{ match.email }}"',
            "`operations.upsert.path`: `match` is not known here",
        ),
        ("name: acme", "name: other", "CDP414: destination `acme`: its name is `other`"),
        ("name: acme\n", "", "CDP412: destination `acme`: `name`: is missing"),
        ("title: Acme Mail", "title: [1]", "`title`: must be text"),
        ("changed_only: true", "changed_only: yes", "`changed_only`: must be true or false"),
        ("method: DELETE", "method: POST\n    row: 1\n    body: 2", "`row` is never used"),
        ("list: {about", "list: {abut", "unknown key `list.abut`"),
        ("name: acme", "name: acme\nname: acme", "CDP103"),
    ],
)
def test_a_wrong_description_is_refused_with_its_place(tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = example()
    assert old in text
    folder = written(tmp_path, text.replace(old, new, 1))
    with pytest.raises(ProjectError) as caught:
        load(folder)
    assert expected in str(caught.value)
    assert re.match(r"destinations/acme/destination\.yml:\d+:\d+: ", str(caught.value))


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = example().replace("rate:", "rates:").replace("items: 100,", "item: 100,").replace("4MB", "much")
    with pytest.raises(ProjectError) as caught:
        load(written(tmp_path, text))
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(("text", "number"), [("500", 500), (500, 500), ("32KB", 32_000), ("1.5 MiB", 1_572_864)])
def test_sizes(text: Any, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize(("text", "seconds"), [(10, 10), ("10s", 10), ("500ms", 0.5), ("2m", 120), ("1d", 86_400)])
def test_durations(text: Any, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(("text", "part"), [("50%", 0.5), (0.25, 0.25), ("100%", 1), (1, 1)])
def test_shares(text: Any, part: float) -> None:
    assert share(text) == part


@pytest.mark.parametrize("text", ["0%", "101%", "much", True, None, -1])
def test_wrong_shares(text: Any) -> None:
    with pytest.raises(ValueError, match="a share such as 50%"):
        share(text)


def test_the_language_has_no_key_that_yaml_misreads() -> None:
    assert not {"null", "on", "off", "yes", "no", "true", "false"} & {key.rpartition(".")[2] for key in keys()}


def test_descriptions_are_found_where_the_package_says() -> None:
    assert isinstance(load(shipped("destinations") / "webhook"), Description)
    assert mocked(lambda request: None, webhook("http://localhost")).description.name == "webhook"  # type: ignore[arg-type,return-value]
