"""How a command ends that followed a job."""

import pytest
import typer
from runs import make_job, make_plan

from tao_skill_bank.cli.job_end import report_end
from tao_skill_bank.jobs import service

pytestmark = pytest.mark.usefixtures("fake_trainer")


def end_of(tmp_path, *acts):
    handle = service.launch(make_plan(make_job(tmp_path / "run", acts)))
    with pytest.raises(typer.Exit) as ended:
        report_end(handle, as_json=False)
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
