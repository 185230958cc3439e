"""Checkpoints are whole or absent, fit what is trained, and load on other meshes with the same losses."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import small_training
import tomli_w
from small_training import FACTS, Spec, diagnosis, losses, names
from torch.distributed.checkpoint import filesystem

from tao_skill_bank.contracts import EXIT_PEER_LOST
from tao_skill_bank.runs import fencing
from tao_skill_bank.training import checkpoint_contents, entrypoint

from .conftest import Train

SUPPORT = str(Path(small_training.__file__).parent)


def several(folder: Path, spec: Spec) -> int:
    """Run the small training under torchrun, on the processes of its mesh; returns the exit code."""
    config = folder / "config.toml"
    config.write_text(tomli_w.dumps(dataclasses.asdict(spec)))
    processes = ["--standalone", "--nproc_per_node", str(spec.replicate * spec.shard), "-m", "small_training"]
    command = [sys.executable, "-m", "tao_skill_bank.training.launcher", *processes, "--config", str(config)]
    path = os.pathsep.join([SUPPORT, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TAO_DEVICE": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert "Traceback" not in done.stderr.replace("traceback :", ""), done.stderr[-3000:]
    return done.returncode


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
    contents = checkpoint_contents.read(run / "checkpoints" / "step_3", FACTS)
    assert contents is not None
    assert contents.shapes == {"0.weight": (12, 5), "0.bias": (12,), "3.weight": (3, 12), "3.bias": (3,)}
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


@pytest.mark.parametrize("in_background", [False, True])
def test_a_superseded_training_publishes_nothing_more_and_ends_with_a_clear_message(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    in_background: bool,
) -> None:
    folder, step_loss = tmp_path / "run", small_training.step_loss

    def start_another(*arguments: Any) -> float:
        if arguments[-1] == small_training.STEPS_PER_EPOCH:  # the first step of the second epoch
            mine = fencing._own[:]
            monkeypatch.setenv("TAO_JOB_ID", "later")
            fencing.begin(folder)
            fencing.adopt(mine[0])
        return float(step_loss(*arguments))

    monkeypatch.setattr(small_training, "step_loss", start_another)
    assert train("run", epochs=3, in_background=in_background) == EXIT_PEER_LOST
    assert {name for name in names(folder) if not name.startswith(".")} <= {"epoch_1"}
    states = [json.loads(line)["state"] for line in (folder / "status.jsonl").read_text().splitlines()]
    assert "FAILURE" not in states
    assert "SUCCESS" not in states
    assert not (folder / "exit" / "rank_0.json").exists()
    monkeypatch.setattr(small_training, "step_loss", step_loss)
    assert train("run", epochs=3, resume=True) == 0  # what the superseded one left is no obstacle
    assert names(folder) == {"epoch_1", "epoch_2", "epoch_3"}
    assert "is written by job later now" in capsys.readouterr().err
