"""The commands on a real project: the starter, on DuckDB, with files as its CRM."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cdp.cli.main import run as called
from tests.cli.conftest import Call, spawn
from tests.receiver import Receiver

NOW = "2100-01-01"  # after all of the data, whenever the tests run


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starter project, not run yet; copy it before changing it."""
    folder = tmp_path_factory.mktemp("starter")
    assert called(["init", str(folder), "-q"]) == 0
    return folder


@pytest.fixture
def project(starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one's own, and the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(starter, folder)
    monkeypatch.chdir(folder)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def sent(project: Path) -> list[Path]:
    """The files that were sent."""
    return sorted((project / "out").rglob("*.jsonl"))


def test_a_sound_project_has_no_mistakes(cdp: Call, project: Path) -> None:
    said = cdp("validate", "--strict")
    assert (said.code, said.out) == (0, "")
    assert said.err.endswith("no mistakes\n")


def test_all_mistakes_come_at_once_on_stdout_with_place_and_neighbour(cdp: Call, project: Path) -> None:
    edit(project / "audiences.yml", "- orders_count: {gte: 2}", "- orders_cuont: {gte: 2}")
    edit(project / "syncs.yml", "mode: mirror", "mode: miror")
    said = cdp("validate")
    assert said.code == 2
    assert "audiences.yml:13:11: CDP112:" in said.out
    assert "        - orders_cuont: {gte: 2}" in said.out
    assert "did you mean `orders_count`?" in said.out
    assert "syncs.yml:6:11: CDP105:" in said.out
    assert "did you mean `mirror`?" in said.out
    assert said.out.index("audiences.yml") < said.out.index("syncs.yml")
    assert "2 errors" in said.err


def test_mistakes_as_json_are_one_document(cdp: Call, project: Path) -> None:
    edit(project / "audiences.yml", "country:", "cuontry:")
    said = cdp("validate", "--output", "json")
    assert said.code == 2
    (problem,) = said.document["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("audiences.yml", 7, 7)
    assert problem["severity"] == "error"
    assert (said.document["errors"], said.document["exit_code"]) == (1, 2)


def test_mistakes_as_annotations_name_the_file_in_the_repository(
    cdp: Call, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(project / "audiences.yml", "country:", "cuontry:")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.parent))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    said = cdp("validate", "--output", "github")
    assert said.code == 2
    assert said.out.startswith("::error file=project/audiences.yml,line=7,col=7,title=CDP112::")


def test_a_command_that_needs_the_project_says_what_is_wrong_on_stderr(cdp: Call, project: Path) -> None:
    edit(project / "audiences.yml", "country:", "cuontry:")
    said = cdp("run")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("audiences.yml:7:7: CDP112:")
    assert not (project / "starter.duckdb").exists()


def test_no_project_says_how_to_make_one(cdp: Call, tmp_path: Path) -> None:
    said = cdp("validate", "--project-dir", str(tmp_path))
    assert said.code == 2
    assert "CDP100: there is no cdp_project.yml" in said.out
    assert "cdp init" in said.out


def test_compile_lists_the_files_that_it_wrote(cdp: Call, project: Path) -> None:
    said = cdp("compile")
    assert said.code == 0
    files = [Path(line) for line in said.out.splitlines()]
    assert files and all(file.is_file() and file.suffix == ".sql" for file in files)
    manifest = json.loads((project / "target" / "manifest.json").read_text())
    assert manifest["schema_version"] == 1


def test_a_run_sends_and_a_second_one_has_nothing_to_send(cdp: Call, project: Path) -> None:
    first = cdp("run")
    assert first.code == 0, first.err
    head, row = (line.split() for line in first.out.splitlines()[:2])
    counts = dict(zip(head, row, strict=True))
    assert (counts["sync"], counts["status"]) == ("crm_good_customers", "done")
    (file,) = sent(project)
    lines = file.read_text().splitlines()
    assert counts["rows"] == counts["added"] == f"{len(lines):,}"
    assert json.loads((project / "target" / "run_results.json").read_text())["exit_code"] == 0
    second = cdp("run", "--output", "json")
    assert second.code == 0
    (sync,) = [step for step in second.document["steps"] if step["id"] == "sync:crm_good_customers"]
    assert (sync["counts"]["requests"], sync["counts"]["added_accepted"]) == (0, 0)
    assert sent(project) == [file]


def test_build_then_sync_is_what_run_does(cdp: Call, project: Path) -> None:
    assert cdp("build", "-q").code == 0
    assert sent(project) == []
    dry = cdp("sync", "--dry-run")
    assert dry.code == 0
    assert "would add" in dry.out
    assert sent(project) == []
    assert cdp("sync").code == 0
    assert len(sent(project)) == 1


def test_a_part_can_be_built_and_an_empty_selection_is_a_mistake(cdp: Call, project: Path) -> None:
    assert cdp("build", "-q").code == 0
    assert cdp("build", "-s", "audience:sleeping").code == 0
    nothing = cdp("build", "-s", "audience:slepping")
    assert nothing.code == 2
    assert "CDP184" in nothing.err and "sleeping" in nothing.err
    assert cdp("build", "-s", "audience:slepping", "--allow-empty").code == 0


def test_the_clock_does_not_go_back(cdp: Call, project: Path) -> None:
    assert cdp("build", "-q", "--as-of", NOW).code == 0
    said = cdp("build", "--as-of", "2026-01-01")
    assert said.code == 2
    assert said.err.startswith("CDP187: ")
    assert cdp("build", "--as-of", "2026-01-01", "--scratch", "look_back", "-q").code == 0


def test_preview_shows_size_conditions_and_a_sample(cdp: Call, project: Path) -> None:
    assert cdp("build", "-q").code == 0
    found = cdp("preview", "good_customers", "--limit", "3", "--output", "json").document["preview"]
    assert found["population"] == 2000
    assert 0 < found["size"] < 2000
    assert len(found["sample"]) == 3
    spent, country = found["conditions"]
    assert spent["place"].startswith("audiences.yml:6:")
    assert country["cumulative"] == found["size"]
    text = cdp("preview", "good_customers", "--limit", "3")
    assert text.out.startswith(f"good_customers: {found['size']:,} of 2,000 customer (")
    assert len(text.out.splitlines()) == 2 + 3 + 1 + 4


def test_preview_of_an_unknown_audience_proposes_one(cdp: Call, project: Path) -> None:
    said = cdp("preview", "good_customer")
    assert said.code == 2
    assert "did you mean `good_customers`?" in said.err


def test_logs_show_what_was_answered(cdp: Call, project: Path) -> None:
    assert cdp("logs").out == ""
    assert cdp("run", "-q").code == 0
    (entry,) = cdp("logs", "crm_good_customers", "--output", "json").document["rows"]
    assert (entry["sync"], entry["status"]) == ("crm_good_customers", "accepted")
    assert cdp("logs", "--failed", "--output", "json").document["rows"] == []


def test_sources_are_listed_frozen_and_dated(cdp: Call, project: Path) -> None:
    assert [line.split()[0] for line in cdp("sources").out.splitlines()] == ["source", "contacts", "orders"]
    (project / "sources.lock.yml").unlink(missing_ok=True)
    frozen = cdp("sources", "freeze")
    assert frozen.code == 0
    assert frozen.out.endswith("written: 2 sources, 9 columns\n")
    assert "unchanged" in cdp("sources", "freeze").out
    assert cdp("validate", "--strict").code == 0
    ages = cdp("sources", "freshness", "--output", "json").document["sources"]
    assert [(one["source"], one["status"]) for one in ages] == [("contacts", "none"), ("orders", "none")]
    assert cdp("sources", "melt").code == 2


def test_debug_says_that_all_is_well_or_what_is_not(cdp: Call, project: Path) -> None:
    assert cdp("debug").code == 0
    edit(project / "profiles.yml", "path: starter.duckdb", "path: nowhere/starter.duckdb")
    said = cdp("debug")
    assert said.code == 4
    assert "NO  " in said.out and "CDP302" in said.out


def test_a_locked_warehouse_is_a_message_and_exit_4(cdp: Call, project: Path) -> None:
    assert cdp("build", "-q").code == 0
    hold = "import duckdb, time; held = duckdb.connect('starter.duckdb'); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        said = spawn("run", folder=project)
        holder.kill()
    assert said.code == 4
    assert f"(pid {holder.pid})" in said.err
    assert "Traceback" not in said.err


WEBHOOK = """        crm:
          type: webhook
          url: {url}
          headers: {{Authorization: "Bearer {{{{ env('CRM_TOKEN') }}}}"}}
          operations:
            upsert: {{method: POST, path: /upsert, batch: {{items: 5}}, body: {{rows: "{{{{ rows }}}}"}}}}
            add: {{method: POST, path: /add, batch: {{items: 100}}, body: {{rows: "{{{{ rows }}}}"}}}}
            remove: {{method: POST, path: /remove, batch: {{items: 100}}, body: {{rows: "{{{{ rows }}}}"}}}}
"""


def use_webhook(project: Path, url: str) -> None:
    """Let the target's CRM be an HTTP endpoint with a token."""
    lines = (project / "profiles.yml").read_text().splitlines()
    kept = [line for line in lines if "crm: {type: file" not in line]
    (project / "profiles.yml").write_text("\n".join(kept) + "\n" + WEBHOOK.format(url=url))


def test_sigterm_lets_a_sync_finish_what_is_in_flight_and_the_next_run_goes_on(project: Path) -> None:
    environ = {"CRM_TOKEN": "x" * 20}
    with Receiver(latency=0.3) as receiver:
        use_webhook(project, receiver.url)
        assert spawn("build", "-q", folder=project, environ=environ).code == 0
        command = [sys.executable, "-m", "cdp.cli", "sync"]
        with subprocess.Popen(
            command,
            cwd=project,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as syncing:
            until = time.monotonic() + 30
            while not receiver.request_count and time.monotonic() < until:
                time.sleep(0.02)
            syncing.send_signal(signal.SIGTERM)
            out, err = syncing.communicate(timeout=60)
        assert syncing.returncode == 143, err
        assert "Traceback" not in err
        assert "interrupted" in out
        halfway = len(receiver.rows)
        receiver.latency = 0.0
        said = spawn("sync", "--output", "json", folder=project, environ=environ)
        assert said.code == 0, said.err
        (step,) = said.document["steps"]
        assert 0 < halfway < step["counts"]["queried"] == len(receiver.rows)


def test_a_secret_reaches_no_output_whatever_happens(project: Path) -> None:
    secret = "s3cr3t-Canary/42"
    use_webhook(project, "http://127.0.0.1:9")
    printed = ""
    for argv in (
        ["validate"],
        ["debug"],
        ["compile"],
        ["run", "--log-level", "debug"],
        ["logs"],
        ["run", "-t", secret],
    ):
        for format in ("text", "json", "github"):
            said = spawn(*argv, "--output", format, folder=project, environ={"CRM_TOKEN": secret})
            assert said.code != 1 or argv[0] == "run", said.err
            printed += (said.out + said.err) if secret not in argv else ""
    assert secret not in printed
    written = [path for path in project.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert written == []


def test_a_production_target_asks_nobody_where_nobody_can_answer(cdp: Call, project: Path) -> None:
    edit(project / "profiles.yml", "    dev:\n", "    dev:\n      production: true\n")
    edit(project / "syncs.yml", "    mode: mirror", "    guard: {first_run: send}\n    mode: mirror")
    said = spawn("run", "-q", folder=project)
    assert said.code == 0, said.err


def test_the_schema_is_json_schema_and_is_written_beside_the_project(cdp: Call, project: Path) -> None:
    schema = json.loads(cdp("schema").out)
    assert {"sources", "entities", "audiences", "syncs"} <= set(schema["properties"])
    assert cdp("schema", "--write").code == 0
    assert json.loads((project / "cdp.schema.json").read_text()) == schema


def test_destinations_are_listed_and_shown(cdp: Call, project: Path) -> None:
    listed = cdp("destinations")
    assert [line.split()[0] for line in listed.out.splitlines()][:1] == ["type"]
    assert {"file", "webhook", "customerio"} <= {line.split()[0] for line in listed.out.splitlines()}
    shown = cdp("destinations", "show", "customerio")
    assert "site_id" in shown.out and "required" in shown.out
    unknown = cdp("destinations", "show", "customer_io")
    assert unknown.code == 2
    assert "did you mean `customerio`?" in unknown.err
    assert cdp("destinations", "show").code == 2
    assert "not in this version" in cdp("destinations", "test").err
