"""`cdp validate` as its users meet it: exit code 2, every mistake with its place and a caret below the word, no traceback."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.hostile.shop import Spoiled

SAMPLE: dict[str, tuple[str, str | bytes, str, str]] = {  # file, content or (old ► new), place, underlined
    "a key": ("syncs.yml", "on_leave: delete►on_leav: delete", "syncs.yml:42:5", "on_leav"),
    "a path": ("audiences.yml", "- ltv: {gte: 100}►- lvt: {gte: 100}", "audiences.yml:15:11", "lvt"),
    "a value": ("sources.yml", "key: crm_id►key: crm_it", "sources.yml:9:10", "c"),
    "a snippet after a template": ("traits.yml", "and orders_90d >= 2►and random() >= 2", "traits.yml:29:35", '"ltv'),
    "a snippet": ("sources.yml", "lower(first_name)►lowre(first_name)", "sources.yml:30:22", "lowre"),
    "an encoding": ("x.yml", b"a: \xff\n", "x.yml:1:4", "a"),
    "brackets": ("x.yml", b"[" * 50_000, "x.yml:1:1001", "["),
    "laughs": ("x.yml", b"a: &a [x, x]\nb: [" + b"*a, " * 100_000 + b"]\n", "x.yml:2:", "*"),
    "a name": ("audiences.yml", "  vip:\n►  VIP:\n", "audiences.yml:114:3", "VIP"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", SAMPLE)
def test_the_command_ends_with_two_and_points_to_the_word(what: str, shop: Spoiled) -> None:
    file, change, place, word = SAMPLE[what]
    if isinstance(change, bytes):
        shop.write(file, change)
    else:
        shop.replace(file, *change.split("►"))
    done = subprocess.run(
        [sys.executable, "-m", "cdp.cli", "validate", "--no-color"],
        cwd=shop.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 2, said[:2_000]
    assert "Traceback" not in said and "CDP199" not in said
    lines = said.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(place))
    if what == "an encoding":  # its line cannot be shown
        return
    excerpt, carets = lines[at + 1], lines[at + 2]
    start, end = carets.index("^"), carets.rindex("^") + 1
    assert excerpt[start:end].startswith(word), (excerpt, carets)


@pytest.mark.slow
def test_the_machine_readable_report_holds_every_place(shop: Spoiled) -> None:
    line = shop.replace("audiences.yml", "- ltv: {gte: 100}", "- lvt: {gte: 100}")
    shop.replace("syncs.yml", "mode: mirror", "mode: miror")
    done = subprocess.run(
        [sys.executable, "-m", "cdp.cli", "validate", "--output", "json"],
        cwd=shop.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    problems = json.loads(done.stdout)["problems"]
    assert {(p["code"], p["file"], p["line"]) for p in problems} >= {
        ("CDP112", "audiences.yml", line),
        ("CDP105", "syncs.yml", 11),
    }
