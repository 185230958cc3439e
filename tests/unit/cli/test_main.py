"""The command line as a process: exit codes, stdout and stderr."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SKILL = "tao-finetune-cosmos-reason"
TINY = ["--set", "policy.model_name_or_path=builtin://tiny-cosmos-reason"]


def call(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tao_skill_bank", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def answer(*arguments: str | Path, code: int) -> dict[str, Any]:
    """Return the JSON document of a command and check that its code is the exit code."""
    finished = call(*arguments, "--json")
    document: dict[str, Any] = json.loads(finished.stdout)
    assert (finished.returncode, document["code"], document["ok"]) == (code, code, code == 0), finished.stdout
    assert "Traceback" not in finished.stderr
    return document


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["validate", "tao-finetune-nothing", "train"], 5, "unknown_skill"),
        (["validate", SKILL, "trian"], 5, "unknown_action"),
        (["validate", SKILL], 2, "incomplete_request"),
        (["validate", SKILL, "train", "--set", "novalue"], 2, "invalid_option"),
        (["validate", SKILL, "train", "--set", "train.epoch=[1"], 2, "invalid_yaml"),
        (["validate", SKILL, "train", "--bogus"], 2, "usage"),
        (["plan", "--request", "missing.yaml"], 2, "unreadable_file"),
        (["plan", SKILL, "train", "--train", "d", "--eval", "d", "--platform", "mars"], 5, "unknown_platform"),
        (
            ["plan", SKILL, "train", "--train", "d", "--eval", "d", "--automl-policy", "maybe"],
            2,
            "invalid_literal_error",
        ),
        (["status", "cosmos-rl-train-000000000000"], 5, None),
        (["run", "--plan", "missing.json"], 2, "unreadable_json"),
        (["run", SKILL, "train", "--plan", "missing.json"], 2, "plan_and_request"),
        (["run", "--plan", "missing.json", "--set", "train.epoch=3"], 2, "plan_and_request"),
        (["models", "resolve", "gpt-oss"], 5, "unknown_model"),
        (["models", "create", "builtin://huge"], 5, "unknown_model"),
        (["schema", SKILL], 5, "unknown_schema"),
        (["demo", "nothing"], 5, "unknown_demo"),
        (["data", "sample", "nothing", "out"], 5, "unknown_sample"),
    ],
)
def test_a_mistake_ends_with_its_code_and_one_json_document(arguments: list[str], code: int, error: str | None) -> None:
    document = answer(*arguments, code=code)
    assert document["errors"]
    assert all(problem["message"] and problem["fix"] for problem in document["errors"])
    if error:
        assert document["errors"][0]["code"] == error


@pytest.mark.slow
def test_people_get_the_error_on_stderr_and_nothing_on_stdout() -> None:
    finished = call("validate", SKILL, "train", "--train", "d", "--eval", "d", "--set", "train.epcoh=3")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "Did you mean train.epoch?" in finished.stderr


@pytest.mark.slow
def test_list_show_schema_and_template_agree() -> None:
    entry = next(e for e in answer("list", code=0)["skills"] if e["skill"] == SKILL)
    assert entry["automl"] is True
    assert "train" in entry["actions"]
    shown = answer("show", "cosmos-rl", code=0)
    assert shown["skill"] == SKILL
    schema = answer("schema", SKILL, "train", code=0)["schema"]
    assert answer("template", SKILL, "train", code=0)["template"] == schema["default"]
    assert answer("schema", "request", code=0)["schema"]["title"] == "request"


@pytest.mark.slow
def test_a_request_file_and_options_are_one_request(tmp_path: Path) -> None:
    request = tmp_path / "request.yaml"
    request.write_text(
        f"skill: {SKILL}\naction: train\ndatasets: {{train: /d, eval: /e}}\n"
        "overrides:\n  train.epoch: 2\n  train.optm_lr: 1e-5\n"
    )
    spec = answer("validate", "--request", request, "--set", "train.epoch=3", "--full", code=0)["spec"]
    assert (spec["train"]["epoch"], spec["train"]["optm_lr"]) == (3, 1e-5)


@pytest.mark.slow
def test_a_blocked_plan_exits_3_shows_every_finding_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    words = ("plan", SKILL, "train", "--train", tmp_path, "--eval", tmp_path, *TINY, "--out", out, "--full")
    document = answer(*words, code=3)
    assert {finding["severity"] for finding in document["findings"]} >= {"blocking", "info"}
    assert document["spec"]["policy"]["model_name_or_path"] == "builtin://tiny-cosmos-reason"
    assert list(tmp_path.iterdir()) == []


EXPORT = [SKILL, "export", "--set", "model_path=builtin://tiny-cosmos-reason", "--image", "tao-skill-bank"]


def scripts_in(text: str) -> dict[str, str]:
    """Return the titled texts that a plan prints."""
    return {title: body for title, _, body in (part.partition("\n") for part in text.split("\n# --- ")[1:])}


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["slurm", "docker"])
def test_a_plan_prints_exactly_what_an_engine_would_be_sent(platform: str, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    finished = call("plan", *EXPORT, "--platform", platform, "--out", out)
    sealed = json.loads(out.read_text())
    shown = scripts_in(finished.stdout)
    assert (finished.returncode, list(shown)) == (0, ["command", "launch.sh"])
    assert shown["launch.sh"] == sealed["files"]["launch.sh"]
    assert shlex.split(shown["command"].replace("\\\n", "")) == sealed["argv"]


@pytest.mark.slow
def test_a_local_plan_prints_its_files_when_it_is_asked_to() -> None:
    assert scripts_in(call("plan", *EXPORT).stdout) == {}
    shown = scripts_in(call("plan", *EXPORT, "--show-files").stdout)
    assert list(shown) == ["command", "config/export.toml", "launch.sh"]


@pytest.mark.slow
def test_an_image_is_resolved_by_skill_and_by_key() -> None:
    assert answer("images", "resolve", SKILL, code=0)["commands"] == {
        "train": "cosmos-rl",
        "evaluate": "cosmos-rl-evaluate",
    }
    ours = answer("images", "resolve", "tao-skill-bank", code=0)
    assert (ours["commands"], ours["get"].split()[:2]) == ({}, ["docker", "build"])
    assert answer("images", "resolve", "cosmos-rI=x", code=5)["errors"][0]["code"] == "unknown_image"


@pytest.mark.slow
def test_the_next_command_of_an_answer_is_exact() -> None:
    document = answer("validate", SKILL, "train", "--train", "a b", "--eval", "d", code=0)
    assert document["next"] == [f"tao-skills plan {SKILL} train --train 'a b' --eval d"]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["--set=custom.system_prompt=", "--set=nothing=", "--set=train.epoch=", "--image="])
def test_a_secret_anywhere_in_a_request_is_refused_without_repeating_it(place: str) -> None:
    token = "hf_" + "T0ken" * 5
    finished = call("plan", SKILL, "train", "--train", "d", "--eval", "d", f"{place}{token}", "--json")
    assert finished.returncode == 2
    assert token not in finished.stdout + finished.stderr
