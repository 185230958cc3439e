import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.runs import summaries
from tao_skill_bank.runs.run_directory import RunDirectory

WHOLE = {
    "kind": "classes",
    "task": "which direction",
    "num_samples": 4,
    "metrics": {"accuracy": 0.5, "bleu": None},
    "units": {"error": "pixels"},
    "not_computed": {"bleu": "no truth has four words"},
    "per_class": {"left": {"precision": 1.0, "f1": None}},
    "confusion_matrix": {"labels": ["left", "right"], "matrix": [[1, 0], [1, 2]]},
    "notes": {"accuracy": "share of right answers"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_a_whole_summary_stays_as_it_is():
    assert summaries.plain(WHOLE) == WHOLE


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("kind", 3, None),
        ("num_samples", -1, None),
        ("num_samples", 2.5, None),
        ("metrics", {"a": 1, "b": math.inf, "c": "1", "d": [1], "e": True}, {"a": 1.0, "b": None, "e": None}),
        ("metrics", [1], {}),
        ("units", {"a": "m", "b": 1}, {"a": "m"}),
        ("per_class", {"a": {"f1": 1, "shown": "x"}, "b": [1], "c": {}}, {"a": {"f1": 1.0}}),
        ("confusion_matrix", {"labels": ["a", "b"], "matrix": [[1, 2], [3]]}, None),
        ("confusion_matrix", {"labels": ["a"], "matrix": [[1], [2]]}, None),
        ("confusion_matrix", {"labels": ["a"], "matrix": [[0.5]]}, None),
        ("confusion_matrix", {"labels": ["a"], "matrix": [3]}, None),
        ("confusion_matrix", {"labels": [1, "b"], "matrix": [[1, 2.0]]}, {"labels": ["1", "b"], "matrix": [[1, 2]]}),
        ("confusion_matrix", "a table", None),
        ("intervals", {"a": {"low": 0, "high": 1}, "b": {"low": 0}, "c": [0, 1]}, {"a": (0.0, 1.0)}),
        ("calibration", {"bins": [{"low": 0, "high": 1, "count": 3}, 7]}, [{"low": 0.0, "high": 1.0, "count": 3.0}]),
        ("calibration", {"bins": {"low": 0}}, []),
        ("findings", "text", []),
        ("unknown", 1, None),
    ],
)
def test_of_a_field_the_parts_that_have_their_type_are_kept(name, value, kept):
    assert summaries.plain({name: value, "task": "t"}) == {"task": "t"} | ({} if kept is None else {name: kept})


def test_a_finding_has_all_its_texts_and_needs_a_message():
    listed = [{"message": "m", "code": 3, "path": "p"}, {"code": "c"}, "text", None]
    assert summaries.findings(listed) == [{"code": "", "severity": "", "message": "m", "fix": "", "path": "p"}]


@pytest.mark.parametrize("text", [None, "", "[1]", "3", '{"kind": "numbers"', "{}"])
def test_a_run_without_a_summary_has_an_empty_one(tmp_path, text):
    if text is not None:
        (tmp_path / "metrics_summary.json").write_text(text)
    assert summaries.read(RunDirectory(tmp_path)) == {}


@given(st.dictionaries(st.sampled_from([*summaries.FORMS, "other"]), JSON))
def test_what_is_kept_of_anything_can_be_written_and_is_kept_again(document):
    kept = summaries.plain(document)
    json.dumps(kept, allow_nan=False)
    assert set(kept) <= set(summaries.FORMS)


def test_a_bin_of_the_calibration_has_its_bounds_and_its_count():
    whole = {"low": 0.0, "high": 0.5, "count": 3}
    broken = [{name: value for name, value in whole.items() if name != left} for left in whole]
    kept = summaries.plain({"calibration": {"bins": [whole, *broken]}})["calibration"]
    assert kept == [whole]
