"""Two evaluations give a gain with its interval, which conditions can compare."""

import json

import pytest
from report_runs import write

from tao_skill_bank.errors import BlockedError, UnknownNameError
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.workflows import stage
from tao_skill_bank.workflows.stages import compare
from tao_skill_bank.workflows.stages.compare import Arguments


class Handle:
    """A job whose run directory has the name of its id."""

    root = None

    def __init__(self, job_id):
        self.run_directory = RunDirectory(self.root / job_id)


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(Handle, "root", tmp_path)
    monkeypatch.setattr(compare, "JobHandle", Handle)

    def of(before, after, metric="accuracy"):
        for name, verdicts in (("before", before), ("after", after)):
            entries = [
                {"video_id": f"{number}.mp4", "question": "?", "response": "x", "gt": "y", "verdict": verdict}
                for number, verdict in enumerate(verdicts)
            ]
            write(tmp_path / name / "results.json", entries)
            write(tmp_path / name / "metrics_summary.json", {"kind": "answers", "metrics": {}})
        folder = tmp_path / "stage"
        folder.mkdir(exist_ok=True)
        given = compare.run(Arguments("before", "after", metric), stage.Context(folder, tmp_path, 0, print))
        assert set(given) == set(compare.OUTPUTS)
        assert json.loads(compare.promised(None, folder)[0].read_text())["questions"] == given["questions"]
        return given

    return of


def test_the_gain_has_an_interval(outputs):
    found = outputs(["wrong"] * 12 + ["right"] * 8, ["right"] * 20)
    assert found["gain"] == pytest.approx(0.6)
    assert 0.3 < found["ci_low"] < 0.6 < found["ci_high"] < 0.9
    assert (found["newly_right"], found["newly_wrong"], found["questions"]) == (12, 0, 20)


def test_the_same_answers_are_no_gain_and_no_spread(outputs):
    found = outputs(["right", "wrong"] * 4, ["right", "wrong"] * 4)
    assert (found["gain"], found["ci_low"], found["ci_high"]) == (0.0, 0.0, 0.0)


def test_what_cannot_be_compared_is_refused(outputs, tmp_path):
    with pytest.raises(UnknownNameError, match="no figure 'speed'"):
        outputs(["right", "wrong"], ["right", "right"], metric="speed")
    folder = tmp_path / "stage"
    with pytest.raises(BlockedError):
        compare.run(Arguments("nothing", "after"), stage.Context(folder, tmp_path, 0, print))
