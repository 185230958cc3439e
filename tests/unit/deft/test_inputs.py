"""What a user says becomes the inputs of the workflow, or one error."""

import pytest

from tao_skill_bank.deft import inputs
from tao_skill_bank.deft.inputs import Wanted
from tao_skill_bank.errors import RequestError


def test_every_action_gets_the_model_and_its_own_overrides():
    wanted = Wanted("m", {"train": {"train.epoch": 3}, "evaluate": {"vision.nframes": 8}}, {"kpi": "k", "pool": "p"})
    assert wanted.values() == {
        "model": "m",
        "base": {"model_name_or_path": "m", "vision.nframes": 8},
        "evaluation": {"vision.nframes": 8},
        "training": {"train.epoch": 3},
        "embedding": {"model_name_or_path": "m"},
        "kpi": "k",
        "pool": "p",
    }


def test_what_is_typed_wins_over_a_file():
    file = Wanted("a", {"train": {"train.epoch": 3, "train.seed": 1}}, {"kpi": "k", "iterations": 5})
    typed = Wanted("", {"train": {"train.epoch": 9}}, {"iterations": "2"})
    merged = file.merged(typed)
    assert merged.model == "a"
    assert merged.overrides == {"train": {"train.epoch": 9, "train.seed": 1}}
    assert merged.inputs == {"kpi": "k", "iterations": "2"}


def test_everything_that_is_missing_is_reported_together():
    with pytest.raises(RequestError) as caught:
        Wanted("", {"quantize": {}}, {}).values()
    assert [problem.code for problem in caught.value.problems] == ["unknown_action", "model_missing", "pool_missing"]


def test_a_loop_that_only_generates_needs_no_pool():
    with pytest.raises(RequestError) as caught:
        Wanted("m", {}, {"kpi": "k", "mode": "both"}).values()
    assert [problem.code for problem in caught.value.problems] == ["pool_missing"]
    assert Wanted("m", {}, {"kpi": "k", "mode": "generate"}).values()["mode"] == "generate"


def test_without_a_test_set_the_figure_is_called_optimistic():
    (found,) = inputs.findings({"test": None})
    assert (found.code, found.severity) == ("figure_optimistic", "warning")
    assert inputs.findings({"test": "data"}) == []


@pytest.mark.parametrize(
    ("action", "overrides", "path"),
    [
        ("evaluate", {"model": {"model_name": "other"}}, "model.model_name"),
        ("train", {"policy.model_name_or_path": "other"}, "policy.model_name_or_path"),
        ("train", {"custom.train_dataset": {"annotation_path": "a"}}, "custom.train_dataset.annotation_path"),
        ("embed", {"model_name_or_path": "other"}, "model_name_or_path"),
    ],
)
def test_what_the_loop_sets_itself_cannot_be_overridden(action, overrides, path):
    with pytest.raises(RequestError) as caught:
        Wanted("m", {action: overrides}, {"kpi": "k", "pool": "p"}).values()
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [
        ("set_by_loop", f"--set {action}:{path}")
    ]
