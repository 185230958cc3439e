"""Checkpoints are whole or absent, fit what is trained, and load on other meshes with the same losses."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import small_training
import tomli_w
import torch
from small_training import Spec, losses
from torch.distributed.checkpoint import filesystem

from tao_skill_bank.training import checkpoint, distributed, entrypoint, interruption

SUPPORT = str(Path(small_training.__file__).parent)
Train = Callable[..., int]


@pytest.fixture
def train(tmp_path: Path) -> Iterator[Train]:
    """Run the small training into a folder of this name, in this process; returns the exit code."""
    before = {number: signal.getsignal(number) for number in interruption.SIGNALS}

    def run(name: str, **changes: Any) -> int:
        spec = Spec(str(tmp_path / name), **changes)
        try:
            return entrypoint.run(spec, small_training.train, tmp_path / name)
        finally:
            distributed.stop()

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def whole(train: Train, tmp_path: Path) -> Path:
    """Four epochs without any interruption."""
    assert train("whole", epochs=4) == 0
    return tmp_path / "whole"


def several(folder: Path, spec: Spec) -> int:
    """Run the small training under torchrun, on the processes of its mesh; returns the exit code."""
    config = folder / "config.toml"
    config.write_text(tomli_w.dumps(dataclasses.asdict(spec)))
    processes = ["--standalone", "--nproc_per_node", str(spec.replicate * spec.shard), "-m", "small_training"]
    command = [sys.executable, "-m", "tao_skill_bank.training.launcher", *processes, "--config", str(config)]
    path = os.pathsep.join([SUPPORT, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TAO_DEVICE": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr.replace("traceback :", ""), done.stderr[-3000:]
    return done.returncode


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "checkpoints").iterdir()}


def diagnosis(folder: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (folder / "status.jsonl").read_text().splitlines()]
    assert [line["state"] for line in lines[-2:]] == ["STARTED", "FAILURE"]
    found: dict[str, Any] = lines[-1]["diagnosis"]
    return found


# --- interruption -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("in_background", [False, True])
def test_an_interrupted_training_goes_on_inside_the_epoch_with_the_same_losses(
    train: Train, whole: Path, tmp_path: Path, number: int, in_background: bool
) -> None:
    changes = {"epochs": 4, "in_background": in_background}
    assert train("parts", **changes, signal_after=3, signal_number=int(number)) == entrypoint.EXIT_INTERRUPTED
    assert names(tmp_path / "parts") == {"epoch_1", "step_3"}
    told = diagnosis(tmp_path / "parts")
    assert told["code"] == "interrupted"
    assert str(tmp_path / "parts" / "checkpoints" / "step_3") in told["cause"]
    assert "train.resume=true" in told["cure"]
    assert train("parts", **changes, resume=True) == 0
    assert losses(tmp_path / "parts") == losses(whole)
    assert names(tmp_path / "parts") == {"epoch_1", "epoch_2", "epoch_3", "epoch_4"}


def test_an_interruption_after_the_last_step_of_an_epoch_still_ends_that_epoch(
    train: Train, whole: Path, tmp_path: Path
) -> None:
    assert train("parts", epochs=4, signal_after=4) == entrypoint.EXIT_INTERRUPTED
    assert names(tmp_path / "parts") == {"epoch_1", "step_4"}
    assert train("parts", epochs=4, resume=True, signal_after=7) == entrypoint.EXIT_INTERRUPTED
    assert names(tmp_path / "parts") == {"epoch_1", "epoch_2", "epoch_3", "step_7"}
    assert train("parts", epochs=4, resume=True) == 0
    assert losses(tmp_path / "parts") == losses(whole)


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_after_the_same_step(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "parts"
    spec = Spec(str(run), shard=2, epochs=4, in_background=True)
    interrupted = dataclasses.replace(spec, signal_after=5, signaled_rank=1)
    assert several(tmp_path, interrupted) == entrypoint.EXIT_INTERRUPTED
    assert names(run) == {"epoch_1", "epoch_2", "step_5"}
    assert diagnosis(run)["code"] == "interrupted"
    codes = [json.loads(path.read_text())["exit_code"] for path in (run / "exit").glob("rank_*.json")]
    assert codes == [entrypoint.EXIT_INTERRUPTED] * 2
    assert several(tmp_path, dataclasses.replace(spec, resume=True)) == 0
    assert losses(run) == pytest.approx(losses(whole), rel=1e-5)


# --- other meshes -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("saved", "loaded"), [((1, 2), (1, 1)), ((2, 1), (1, 2)), ((2, 2), (1, 1))])
def test_a_checkpoint_of_one_mesh_continues_the_curve_on_another(
    whole: Path, train: Train, tmp_path: Path, saved: tuple[int, int], loaded: tuple[int, int]
) -> None:
    run = tmp_path / "run"
    first = Spec(str(run), *saved, epochs=4, signal_after=3, in_background=True)
    assert several(tmp_path, first) == entrypoint.EXIT_INTERRUPTED
    second = dataclasses.replace(first, replicate=loaded[0], shard=loaded[1], resume=True, signal_after=0)
    code = several(tmp_path, second) if loaded != (1, 1) else train("run", epochs=4, resume=True)
    assert code == 0
    assert losses(run) == pytest.approx(losses(whole), rel=1e-5)


# --- writing ------------------------------------------------------------------------------------------------------


def test_what_is_written_in_the_background_is_the_state_at_the_save(
    train: Train, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_at_write: list[int] = []
    write = filesystem.FileSystemWriter.write_data

    def late(self: Any, *arguments: Any) -> Any:
        losses_file = tmp_path / "parts" / "losses.jsonl"
        while not steps_at_write and len(losses_file.read_text().splitlines()) < 4:
            pass  # the second epoch is trained while the first checkpoint waits
        steps_at_write.append(len(losses_file.read_text().splitlines()))
        return write(self, *arguments)

    monkeypatch.setattr(filesystem.FileSystemWriter, "write_data", late)
    assert train("parts", epochs=2, in_background=True) == 0
    assert steps_at_write[0] == 4
    monkeypatch.undo()
    assert train("parts", epochs=4, resume=str(tmp_path / "parts" / "checkpoints" / "epoch_1")) == 0
    assert losses(tmp_path / "parts") == losses(whole)


@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EACCES, "checkpoint_not_written")])
def test_a_failed_write_is_one_clear_error_and_leaves_the_previous_checkpoint(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_background: bool, number: int, code: str
) -> None:
    write = filesystem.FileSystemWriter.write_data

    def full(self: Any, *arguments: Any) -> Any:
        if ".epoch_2" in str(self.path):
            raise OSError(number, os.strerror(number))
        return write(self, *arguments)

    monkeypatch.setattr(filesystem.FileSystemWriter, "write_data", full)
    assert train("run", epochs=3, in_background=in_background) == 8
    told = diagnosis(tmp_path / "run")
    assert told["code"] == code
    assert "epoch_2" in told["cause"]
    assert "train.resume=true" in told["cure"]
    assert {name for name in names(tmp_path / "run") if not name.startswith(".")} == {"epoch_1"}
    monkeypatch.undo()
    assert train("run", epochs=3, resume=True) == 0
    assert names(tmp_path / "run") == {"epoch_1", "epoch_2", "epoch_3"}


def test_old_epochs_go_only_when_a_newer_one_is_whole(train: Train, tmp_path: Path) -> None:
    assert train("run", epochs=4, in_background=True, max_keep=2) == 0
    assert names(tmp_path / "run") == {"epoch_3", "epoch_4"}


# --- what is loaded -----------------------------------------------------------------------------------------------


def test_changed_data_is_named_with_its_old_and_new_value(train: Train, whole: Path) -> None:
    assert train("whole", epochs=5, resume=True, data="letters") == 3
    told = diagnosis(whole)
    assert told["code"] == "resume_changed"
    assert 'the data was "numbers"' in told["cause"]
    assert 'is "letters" now' in told["cause"]
    assert "train.resume=false" in told["cure"]


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
    checkpoint.keep_best(whole, exported, 0.001)
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
