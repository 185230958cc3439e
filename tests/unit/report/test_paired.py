"""Two evaluations of the same questions: is the difference more than chance?"""

import math

import pytest
from report_runs import make_evaluation, write

from tao_skill_bank.report import paired, views, write_report
from tao_skill_bank.report.paired import Paired
from tao_skill_bank.runs.run_directory import RunDirectory


def run_of(folder, verdicts, **numbers):
    """Write an evaluation of two questions per clip with the given verdicts."""
    entries = [
        {"video_id": f"{index // 2}.mp4", "question": f"{index}?", "response": "x", "gt": "y", "verdict": verdict}
        | {name: values[index] for name, values in numbers.items()}
        for index, verdict in enumerate(verdicts)
    ]
    write(folder / "results.json", entries)
    summary = {
        "kind": "answers",
        "metrics": {"accuracy": verdicts.count("right") / len(verdicts)},
        "intervals": {"accuracy": {"low": 0.25, "high": 0.875, "level": 0.95}},
        "findings": [{"code": "one_class_answered", "severity": "warning", "message": "All say y.", "fix": "Look."}],
    }
    write(folder / "metrics_summary.json", summary)
    return views.read(folder.name, RunDirectory(folder))


def compared(tmp_path, before, after, **numbers):
    return paired.compare(run_of(tmp_path / "before", before, **numbers), run_of(tmp_path / "after", after, **numbers))


def test_the_p_value_is_that_of_the_sign_test_over_changed_answers(tmp_path):
    before = ["wrong"] * 9 + ["right"] * 11
    after = ["right"] * 8 + ["wrong"] * 1 + ["cut"] + ["right"] * 10
    found = compared(tmp_path, before, after)
    assert (found.gained, found.lost, found.questions, found.unmatched) == (8, 1, 20, 0)
    expected = 2 * sum(math.comb(9, count) for count in (0, 1)) / 2**9
    assert found.p_value == pytest.approx(expected)
    change = found.changes[0]
    assert (change.name, change.value) == ("accuracy", pytest.approx(7 / 20))
    assert change.interval[0] < 7 / 20 < change.interval[1]


def test_equal_evaluations_do_not_differ(tmp_path):
    found = compared(tmp_path, ["right", "wrong"] * 5, ["right", "wrong"] * 5)
    assert (found.p_value, found.changes[0].value, found.changes[0].interval) == (1.0, 0.0, None)


def test_other_numbers_of_all_answers_are_compared_in_pairs(tmp_path):
    before = run_of(tmp_path / "before", ["wrong"] * 6, token_f1=[0.1, 0.2, 0.3, 0.1, 0.0, 0.5])
    after = run_of(tmp_path / "after", ["wrong"] * 6, token_f1=[0.2, 0.4, 0.3, 0.3, 0.2, 0.6])
    change = paired.compare(before, after).changes[1]
    assert (change.name, change.value) == ("token_f1", pytest.approx(0.8 / 6))
    assert 0 < change.interval[0] < change.interval[1]


def test_only_questions_with_the_same_truth_are_paired(tmp_path):
    before = run_of(tmp_path / "before", ["right"] * 4)
    after = run_of(tmp_path / "after", ["right"] * 2)
    assert (paired.compare(before, after).questions, paired.compare(before, after).unmatched) == (2, 2)
    entries = [{"video_id": "other.mp4", "question": "?", "response": "x", "gt": "y"}]
    write(tmp_path / "other" / "results.json", entries)
    write(tmp_path / "other" / "metrics_summary.json", {"kind": "answers", "metrics": {}})
    assert paired.compare(before, views.read("other", RunDirectory(tmp_path / "other"))) is None


def test_a_question_that_is_asked_twice_is_paired_twice(tmp_path):
    first = run_of(tmp_path / "before", ["right", "wrong"])
    entry = {"video_id": "a.mp4", "question": "?", "response": "x", "gt": "y"}
    for name, verdicts in (("once", ("right", "wrong")), ("again", ("wrong", "wrong"))):
        write(tmp_path / name / "results.json", [{**entry, "verdict": verdict} for verdict in verdicts])
        write(tmp_path / name / "metrics_summary.json", {"kind": "answers", "metrics": {}})
    once, again = (views.read(name, RunDirectory(tmp_path / name)) for name in ("once", "again"))
    assert (paired.compare(once, again).lost, paired.compare(once, again).questions) == (1, 2)
    assert paired.compare(first, again) is None


def test_without_scipy_the_counts_remain_and_the_fix_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = compared(tmp_path, ["wrong", "wrong"], ["right", "wrong"])
    assert (found.gained, found.p_value) == (1, None)
    assert "tao-skill-bank[train]" in found.note


def test_the_page_shows_the_test_the_intervals_and_the_findings(tmp_path):
    runs = {name: RunDirectory(tmp_path / name) for name in ("before", "after")}
    compared(tmp_path, ["wrong"] * 8, ["right"] * 8)
    page = write_report(runs, tmp_path / "report.html").read_text()
    assert "p = 0.0078: the difference is unlikely to be chance" in page
    assert "95 % interval 0.25 to 0.875" in page
    assert page.count("All say y.") == 1


def test_evaluations_of_earlier_releases_are_compared_too(tmp_path):
    runs = {
        name: make_evaluation(tmp_path / name, tmp_path / "data", is_right)
        for name, is_right in (("before", lambda position: position > 20), ("after", lambda _: True))
    }
    seen = [views.read(name, run) for name, run in runs.items()]
    assert (paired.compare(*seen).gained, paired.compare(*seen).lost) == (21, 0)


@pytest.mark.parametrize(
    ("p_value", "text"), [(0.0312, "p = 0.0312"), (1e-12, "p < 0.0001"), (0.0001, "p = 0.0001"), (None, "")]
)
def test_a_p_value_is_never_shown_as_zero(p_value, text):
    assert Paired("a", "b", 1, 0, 0, 0, p_value, ()).p_text == text
