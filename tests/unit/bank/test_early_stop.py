import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.early_stop import EarlyStop
from tao_skill_bank.contracts import Request
from tao_skill_bank.errors import RequestError
from tao_skill_bank.spec import build as spec

STOP = EarlyStop("train.epoch", "train.stop_epoch")
TRAINERS = [skill for skill in catalog.skills() if skill.runs_actions and "train" in skill.info.actions]


def build(skill, **train):
    overrides = {f"train.{name}": value for name, value in train.items()}
    datasets = {"train": "/data/train", "eval": "/data/val"}
    return spec.build(skill, Request(skill=skill.name, action="train", overrides=overrides, datasets=datasets))


@pytest.fixture(params=TRAINERS, ids=[skill.name for skill in TRAINERS])
def skill(request):
    return request.param


def test_a_stop_after_the_last_epoch_is_refused_with_the_largest_valid_one(skill):
    with pytest.raises(RequestError) as caught:
        build(skill, epoch=4, stop_epoch=5)
    (problem,) = caught.value.problems
    assert problem.code == "stop_after_the_end"
    assert problem.fix.startswith("Set train.stop_epoch to 4 or less, or to null")


@pytest.mark.parametrize("stop", [1, 4, None])
def test_a_stop_within_the_epochs_and_none_are_accepted(skill, stop):
    assert build(skill, epoch=4, stop_epoch=stop).values["train"].get("stop_epoch") == stop


def test_epoch_0_is_no_stop(skill):
    with pytest.raises(RequestError, match=r"train\.stop_epoch"):
        build(skill, epoch=4, stop_epoch=0)


def test_a_search_never_varies_the_stop(skill):
    assert skill.info.automl.stop in skill.schema("train")["automl_disabled_parameters"]


@pytest.mark.parametrize(
    ("done", "epochs", "stop", "fix"),
    [
        (2, 8, 2, "Set train.stop_epoch above 2, or to null for all 8 epochs"),
        (8, 8, None, "Set train.epoch above 8"),
        (8, 8, 8, "Set train.epoch above 8 and train.stop_epoch too, or to null"),
        (8, 8, 2, "Set train.epoch above 8 and train.stop_epoch too, or to null"),
    ],
)
def test_the_fix_names_what_really_ends_the_training(done, epochs, stop, fix):
    assert STOP.more_epochs_fix(done, epochs, stop) == fix


def test_a_stop_at_the_last_epoch_is_no_early_one():
    assert STOP.closing_message(8, 8, 24) == STOP.closing_message(8, None, 24) == "Trained 8 epochs, 24 steps."
