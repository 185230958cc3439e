"""How a command ends that followed a job."""

import json

import pytest
import typer
from runs import make_job, make_plan

from tao_skill_bank.cli.job_end import report_end
from tao_skill_bank.jobs import service

pytestmark = pytest.mark.usefixtures("fake_trainer")


def end_of(tmp_path, *acts, as_json=False, **options):
    handle = service.launch(make_plan(make_job(tmp_path / "run", acts)))
    with pytest.raises(typer.Exit) as ended:
        report_end(handle, as_json, **options)
    return handle, ended.value.exit_code


def test_the_cause_of_a_failure_is_told_once(tmp_path, capfd):
    handle, code = end_of(tmp_path, "start", "fail:The acts say so.")
    shown = capfd.readouterr()
    assert code == 8
    assert (shown.out + shown.err).count("The acts say so.") == 1
    assert f"next: tao-skills diagnose {handle.id}" in shown.err


def test_an_interrupted_training_is_followed_by_the_command_that_goes_on(tmp_path, capfd):
    handle, code = end_of(tmp_path, "start", "signal_self:SIGTERM")
    shown = capfd.readouterr().err
    assert code == 8
    assert "Interrupted by a signal, not failed" in shown
    assert f"next: tao-skills retry {handle.id}" in shown


def test_a_job_that_has_not_ended_at_the_timeout_has_an_exit_code_of_its_own(tmp_path, capfd):
    handle, code = end_of(tmp_path, "start", "step:3", "wait_for:go", as_json=True, timeout_seconds=2.0)
    answer = json.loads(capfd.readouterr().out)
    handle.cancel()
    assert (code, answer["code"], answer["ok"]) == (9, 9, False)
    assert answer["state"] in ("PENDING", "RUNNING")  # a slow machine
    assert set(answer) >= {"state", "progress", "message", "next"}
    assert answer["next"][0] == f"tao-skills watch {handle.id} --timeout 2"
    assert [error["code"] for error in answer["errors"]] == ["not_ended"]
    assert "result" not in answer


def test_a_job_that_ends_before_the_timeout_has_the_code_of_its_end(tmp_path, capfd):
    assert end_of(tmp_path, "start", "succeed", timeout_seconds=300.0)[1] == 0
    assert end_of(tmp_path / "failing", "start", "fail:No.", timeout_seconds=300.0)[1] == 8
