"""workflow list, show, plan, run, status, resume, report on the command line."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout

import pytest
from workflow_runs import two_steps, write

from tao_skill_bank.cli import main

pytestmark = pytest.mark.usefixtures("third_skill")


@pytest.fixture
def answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        arguments = [*map(str, words), "--json"]
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            code = main._run(arguments, as_json=True)
        assert "Traceback" not in err.getvalue()
        document = json.loads(out.getvalue())
        assert document["code"] == code
        return document

    return call


def test_a_workflow_is_planned_run_looked_at_and_reported(answer, tmp_path):
    path = write(tmp_path)
    assert answer("workflow", "list")["workflows"] == []
    assert answer("workflow", "show", path)["workflow"]["name"] == "two_steps"
    planned = answer("workflow", "plan", path, "--input", "epochs=3", "--out", "sealed.json")
    assert [step["state"] for step in planned["steps"]] == ["planned", "later"]
    assert planned["next"] == ["tao-skills workflow run --plan sealed.json"]
    ran = answer("workflow", "run", "--plan", "sealed.json")
    folder = tmp_path / "results" / "two_steps"
    assert (ran["state"], ran["folder"], ran["waiting"]) == ("COMPLETE", str(folder), [])
    assert ran["next"] == [f"tao-skills workflow report {folder}"]
    for target in (path, folder):
        shown = answer("workflow", "status", target)
        assert [(step["step"], step["job_state"]) for step in shown["steps"]] == [
            ("training", "COMPLETE"), ("scoring", "COMPLETE"),
        ]  # fmt: skip
    assert "is complete" in answer("workflow", "report", folder)["sentence"]
    assert (folder / "report.html").is_file()
    assert answer("workflow", "resume", path, "--input", "epochs=4")["code"] == 7
    assert answer("workflow", "resume", path, "--input", "epochs=3")["code"] == 0
    assert answer("workflow", "run", path, "--input", "epochs=3")["errors"][0]["code"] == "workflow_started"


def test_what_is_wrong_has_the_exit_code_of_its_kind_and_the_next_command(answer, tmp_path):
    document = two_steps()
    document["steps"][0]["request"]["overrides"]["train.fails_above_lr"] = 1e-9
    path = write(tmp_path, document)
    failed = answer("workflow", "run", path)
    assert failed["code"] == 8
    assert [command.split()[1] for command in failed["next"]] == ["diagnose", "workflow"]
    assert answer("workflow", "status", path)["state"] == "FAILED"
    assert answer("workflow", "run", "--plan", "gone.json")["code"] == 5
    assert answer("workflow", "run", path, "--plan", "sealed.json")["code"] == 2
    assert answer("workflow", "run")["code"] == 2
    assert answer("workflow", "plan", "nothing")["code"] == 5
    assert answer("workflow", "status", tmp_path)["errors"][0]["code"] == "unknown_run"
    write(tmp_path, two_steps(steps=[{"name": "a", "requst": 1}]))
    assert answer("workflow", "plan", path)["code"] == 2
