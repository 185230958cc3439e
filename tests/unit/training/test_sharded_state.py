"""A checkpoint that somebody else wrote is read without running anything of it."""

import pickle
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

import hostile
import torch
from hostile import Hostile
from small_training import diagnosis, losses
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata

from tao_skill_bank.core.admitted_pickle import RefusedPickleError
from tao_skill_bank.training import sharded_state

from .conftest import Train


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Where a pickle that is run makes a folder."""
    return tmp_path / "mark"


def test_metadata_that_asks_for_code_is_refused_by_name_and_not_run(train: Train, whole: Path, mark: Path) -> None:
    folder = whole / "checkpoints" / "epoch_4"
    hostile.write(folder / ".metadata", mark)
    assert train("whole", epochs=5, resume=str(folder)) == 3
    told = diagnosis(whole)
    assert told["code"] == "checkpoint_broken"
    assert f"it asks for {hostile.NAME}, which is not admitted; nothing of it was run" in told["cause"]
    assert f"--set train.resume={folder.with_name('epoch_3')}" in told["cure"]
    assert not mark.exists()


def test_metadata_of_one_rank_is_not_read_in_the_place_of_a_refused_one(train: Train, whole: Path, mark: Path) -> None:
    folder = whole / "checkpoints" / "epoch_4"
    (folder / ".metadata").write_bytes(b"damaged")
    hostile.write(folder / "__0.metadata", mark)  # which torch falls back on
    assert train("whole", epochs=5, resume=str(folder)) == 3
    assert diagnosis(whole)["code"] == "checkpoint_broken"
    assert not mark.exists()


def test_random_states_that_ask_for_code_are_refused_by_name_and_not_run(train: Train, whole: Path, mark: Path) -> None:
    folder = whole / "checkpoints" / "epoch_4"
    torch.save(Hostile(mark), folder / "random_0.pt")
    assert train("whole", epochs=5, resume=str(folder)) == 3
    told = diagnosis(whole)
    assert told["code"] == "checkpoint_broken"
    assert f"it asks for {hostile.NAME}, which was not run" in told["cause"]
    assert not mark.exists()


def test_a_value_that_asks_for_code_is_not_run(tmp_path: Path, mark: Path) -> None:
    folder = tmp_path / "state"
    state_dict_saver.save({"value": Hostile(mark)}, checkpoint_id=str(folder), no_dist=True)
    with pytest.raises(CheckpointException, match="Weights only load failed"):
        sharded_state.load({"value": None}, folder, sharded_state.read_metadata(folder))
    assert not mark.exists()
    state_dict_loader.load({"value": None}, checkpoint_id=str(folder), no_dist=True)
    assert mark.is_dir()  # as torch by itself would have done


def test_values_and_tensors_of_every_kind_are_read(tmp_path: Path) -> None:
    kinds = [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.uint8, torch.bool]
    saved = {
        "model": {str(kind): torch.ones(2, 3).to(kind) for kind in kinds},
        "optimizer": {"lr": 0.5, "betas": (0.9, 0.99), "names": ["a", "b"], "fused": None, "on": True, "step": 3},
    }
    state_dict_saver.save(saved, checkpoint_id=tmp_path / "state", no_dist=True)
    metadata = sharded_state.read_metadata(tmp_path / "state")
    assert metadata.state_dict_metadata == FileSystemReader(tmp_path / "state").read_metadata().state_dict_metadata
    assert sharded_state.shapes(metadata) == {str(kind): (2, 3) for kind in kinds}
    state = {
        "model": {str(kind): torch.zeros(2, 3).to(kind) for kind in kinds},
        "optimizer": dict.fromkeys(saved["optimizer"]),
    }
    sharded_state.load(state, tmp_path / "state", metadata)
    assert state["optimizer"] == saved["optimizer"]
    for name, tensor in saved["model"].items():
        assert torch.equal(state["model"][name].float(), tensor.float())


def test_a_file_outside_the_folder_is_refused(whole: Path) -> None:
    folder = whole / "checkpoints" / "epoch_4"
    metadata = sharded_state.read_metadata(folder)
    for entry in metadata.storage_data.values():
        entry.relative_path = "../epoch_3/__0_0.distcp"
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(RefusedPickleError, match=r"\.\./epoch_3/__0_0\.distcp, which is not a file of the folder"):
        sharded_state.read_metadata(folder)


@pytest.mark.parametrize("value", [None, {}, Metadata({}, storage_data={"a": 1}), Metadata([1])])
def test_a_pickle_of_something_else_is_damage(value: object, train: Train, whole: Path) -> None:
    folder = whole / "checkpoints" / "epoch_4"
    (folder / ".metadata").write_bytes(pickle.dumps(value))
    assert train("whole", epochs=5, resume=str(folder)) == 3
    assert diagnosis(whole)["code"] == "checkpoint_broken"
    assert "one of its files is damaged" in diagnosis(whole)["cause"]


def test_a_checkpoint_without_contents_goes_on_with_the_same_losses(train: Train, whole: Path, tmp_path: Path) -> None:
    old = shutil.copytree(whole / "checkpoints" / "epoch_2", tmp_path / "old" / "epoch_2")
    (old / "contents.json").unlink()  # as earlier versions wrote none
    assert train("again", epochs=4, resume=str(old)) == 0
    assert losses(tmp_path / "again") == losses(whole)[4:]
