"""The better checkpoint stays: a round replaces the best one only by a sure gain."""

import json

import pytest
from report_runs import write

from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.workflows import stage
from tao_skill_bank.workflows.stages import compare, decide
from tao_skill_bank.workflows.stages.decide import Arguments


class Handle:
    """A job whose run directory has the name of its id."""

    root = None

    def __init__(self, job_id):
        self.run_directory = RunDirectory(self.root / job_id)


@pytest.fixture
def decided(tmp_path, monkeypatch):
    monkeypatch.setattr(Handle, "root", tmp_path)
    monkeypatch.setattr(compare, "JobHandle", Handle)

    def run(before, after, count=40, **arguments):
        for name, right in (("best", before), ("tuned", after)):
            entries = [
                {"video_id": f"{number}.mp4", "question": "?", "response": "x", "gt": "y", "verdict": verdict}
                for number, verdict in enumerate(["right"] * right + ["wrong"] * (count - right))
            ]
            write(tmp_path / name / "results.json", entries)
            write(tmp_path / name / "metrics_summary.json", {"kind": "answers", "metrics": {}})
        folder = tmp_path / "stage"
        folder.mkdir(exist_ok=True)
        given = Arguments("best", before / count, "tuned", "training-2", after / count, "training-1", **arguments)
        found = decide.run(given, stage.Context(folder, tmp_path, 2, lambda _: None))
        assert set(found) == set(decide.OUTPUTS)
        assert all(path.is_file() for path in decide.promised(given, folder))
        assert json.loads((folder / decide.FILE).read_text())["outcome"] == found["outcome"]
        return found

    return run


@pytest.mark.parametrize(
    ("before", "after", "arguments", "outcome"),
    [
        (10, 36, {}, "improved"),
        (10, 36, {"target": 0.9}, "target_met"),
        (10, 36, {"target": 0.95}, "improved"),
        (10, 36, {"min_gain": 0.6}, "no_gain"),
        (20, 21, {}, "no_gain"),
        (20, 20, {}, "no_gain"),
        (36, 10, {}, "regression"),
        (36, 10, {"target": 0.2}, "regression"),
    ],
)
def test_a_round_is_called_what_its_interval_says(decided, before, after, arguments, outcome):
    assert decided(before, after, **arguments)["outcome"] == outcome


def test_a_sure_gain_replaces_the_best(decided, tmp_path):
    found = decided(10, 36)
    assert (found["evaluation"], found["training"], found["score"]) == ("tuned", "training-2", 0.9)
    assert found["folder_of_best"] == str(tmp_path / "tuned")


@pytest.mark.parametrize("after", [21, 4])
def test_otherwise_the_best_stays(decided, tmp_path, after):
    found = decided(20, after)
    assert (found["evaluation"], found["training"], found["score"]) == ("best", "training-1", 0.5)
    assert found["folder_of_best"] == str(tmp_path / "best")


@pytest.mark.parametrize(
    ("before", "after", "count", "outcome"),
    [
        (0, 1, 1, "no_gain"),
        (1, 0, 1, "no_gain"),
        (0, 3, 3, "no_gain"),
        (0, 40, 40, "improved"),
        (40, 0, 40, "regression"),
    ],
)
def test_a_change_without_a_spread_is_sure_only_where_the_test_says_so(decided, before, after, count, outcome):
    assert decided(before, after, count)["outcome"] == outcome
