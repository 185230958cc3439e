"""A checkpoint is gone on from exactly, or refused with what does not fit; an earlier training is kept apart."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from small_training import FACTS, diagnosis, losses, names

from tao_skill_bank.training import checkpoint, resume

from .conftest import Train


def test_changed_data_is_named_with_its_old_and_new_value(train: Train, whole: Path) -> None:
    assert train("whole", epochs=5, resume=True, data="letters") == 3
    told = diagnosis(whole)
    assert told["code"] == "resume_changed"
    assert 'the data was "numbers"' in told["cause"]
    assert 'is "letters" now' in told["cause"]
    assert "train.resume=false" in told["cure"]


def test_a_changed_parameter_is_set_back_by_its_override_and_changed_data_is_not(tmp_path: Path) -> None:
    resume.write_identity(tmp_path, {"train.seed": 3, "custom.vision.fps": None, "the data": "numbers"})
    now = {"train.seed": 4, "custom.vision.fps": 2.0, "the data": "letters"}
    fixes = {problem.path: problem.fix_set for problem in resume.changes(tmp_path, now, FACTS)}
    assert fixes == {
        "train.seed": {"train.seed": 3},
        "custom.vision.fps": {"custom.vision.fps": None},
        "the data": {},
    }


def test_a_refused_resume_moves_nothing_of_the_earlier_training(train: Train, whole: Path) -> None:
    older = str(whole / "checkpoints" / "epoch_2")
    assert train("whole", epochs=5, resume=older, data="letters") == 3
    assert train("whole", epochs=5, resume=older, hidden=16) == 3
    assert names(whole) == {"epoch_1", "epoch_2", "epoch_3", "epoch_4"}
    assert not list(whole.glob("earlier_*"))


def test_a_training_killed_after_its_last_checkpoint_only_reports_its_success(train: Train, whole: Path) -> None:
    assert train("whole", epochs=4, resume=True) == 2
    assert diagnosis(whole)["code"] == "nothing_to_train"
    status = whole / "status.jsonl"
    status.write_text("".join(line for line in status.read_text().splitlines(True) if "SUCCESS" not in line))
    before = losses(whole)
    assert train("whole", epochs=4, resume=True) == 0
    assert losses(whole) == before
    assert '"SUCCESS"' in status.read_text()


def test_a_training_that_made_no_checkpoint_yet_is_gone_on_with_at_step_0(
    train: Train, whole: Path, tmp_path: Path
) -> None:
    assert train("new", epochs=4, resume=True) == 0
    assert losses(tmp_path / "new") == losses(whole)
    assert train("other", epochs=4, resume=str(tmp_path / "new" / "checkpoints" / "epoch_9")) == 5


def test_weights_of_another_shape_are_named(train: Train, whole: Path) -> None:
    assert train("whole", epochs=5, resume=True, hidden=16) == 3
    told = diagnosis(whole)
    assert told["code"] == "checkpoint_of_another_model"
    assert "0.weight is 12x5 there and 16x5 here" in told["cause"]


@pytest.mark.parametrize("damage", ["cut", "absent", "metadata", "progress", "identity"])
def test_a_damaged_checkpoint_is_one_clear_error(
    damage: str, train: Train, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = whole / "checkpoints" / "epoch_4"
    data = next(iter(folder.glob("*.distcp")))
    if damage == "cut":
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    elif damage == "absent":
        data.unlink()
    elif damage == "metadata":
        (folder / ".metadata").write_bytes((folder / ".metadata").read_bytes()[:50])
    elif damage == "progress":
        (folder / "progress.json").write_text("{")
    else:
        (folder / "identity.json").unlink()
    capsys.readouterr()
    assert train("whole", epochs=5, resume=str(folder)) == 3
    told = diagnosis(whole)
    assert told["code"] == "checkpoint_broken"
    assert str(folder) in told["cause"]
    assert "Traceback" not in capsys.readouterr().err


def test_a_fresh_start_moves_an_earlier_trainings_checkpoints_and_best_away(
    train: Train, whole: Path, tmp_path: Path
) -> None:
    exported = whole / "safetensors" / "epoch_4"
    exported.mkdir(parents=True)
    (exported / "model.safetensors").write_text("weights")
    checkpoint.keep_best(whole, exported, 0.001, FACTS.metric)
    (whole / "losses.jsonl").unlink()
    assert train("whole", epochs=1) == 0
    assert names(whole) == {"epoch_1"}
    assert checkpoint.best_score(whole) is None
    earlier = whole / "earlier_1"
    assert (earlier / "best" / "model.safetensors").read_text() == "weights"
    assert names(earlier) == {"epoch_1", "epoch_2", "epoch_3", "epoch_4"}


def test_going_on_from_an_older_checkpoint_moves_the_later_ones_away(train: Train, whole: Path) -> None:
    before = losses(whole)
    shutil.copytree(whole / "checkpoints" / "epoch_4", whole / "checkpoints" / ".epoch_9")  # half-written by a kill
    shutil.copytree(whole / "checkpoints" / "epoch_4", whole / "checkpoints" / ".epoch_9.2")  # at a later start
    assert train("whole", epochs=3, resume=str(whole / "checkpoints" / "epoch_2")) == 0
    assert names(whole) == {"epoch_1", "epoch_2", "epoch_3"}
    assert names(whole / "earlier_1") == {"epoch_3", "epoch_4"}
    assert losses(whole) == before


def test_random_numbers_go_on_where_they_were(train: Train, tmp_path: Path) -> None:
    assert train("run", epochs=1) == 0
    state = torch.load(tmp_path / "run" / "checkpoints" / "epoch_1" / "random_0.pt", weights_only=True)
    torch.manual_seed(99)
    assert train("run", epochs=2, resume=True) == 0
    assert torch.equal(torch.get_rng_state(), state["cpu"])
