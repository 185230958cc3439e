"""best/ survives every end of the process that writes it."""

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tao_skill_bank.contracts import MonitoringMetric
from tao_skill_bank.training import checkpoint

LOSS = MonitoringMetric("val/avg_loss", "minimize")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run whose best epoch is the first."""
    for epoch in (1, 2):
        folder = tmp_path / "safetensors" / f"epoch_{epoch}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(f"weights {epoch}")
    checkpoint.keep_best(tmp_path, tmp_path / "safetensors" / "epoch_1", 0.5, LOSS)
    return tmp_path


def _best(run_dir: Path) -> str:
    assert sorted(path.name for path in run_dir.iterdir() if path.name.lstrip(".").startswith("best")) == ["best"]
    return (run_dir / "best" / "model.safetensors").read_text()


@pytest.mark.parametrize("renames_done", [0, 1, 2])
def test_best_is_complete_again_after_a_kill_between_renames(
    run_dir: Path, renames_done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, done = Path.rename, []

    def killed_rename(source: Path, target: Path) -> Path:
        if len(done) == renames_done:
            raise KeyboardInterrupt
        done.append(source)
        return rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed_rename)
        if renames_done < 2:
            with pytest.raises(KeyboardInterrupt):
                checkpoint.keep_best(run_dir, run_dir / "safetensors" / "epoch_2", 0.4, LOSS)
        else:
            checkpoint.keep_best(run_dir, run_dir / "safetensors" / "epoch_2", 0.4, LOSS)
    checkpoint.recover_best(run_dir)
    assert _best(run_dir) == "weights 2"
    assert checkpoint.best_score(run_dir) == 0.4


def test_half_a_copy_gives_way_to_the_best_before(run_dir: Path) -> None:
    (run_dir / "best").rename(run_dir / ".best.old")
    (run_dir / ".best").mkdir()
    (run_dir / ".best" / "model.safetensors").write_text("half")
    checkpoint.recover_best(run_dir)
    assert _best(run_dir) == "weights 1"


@pytest.mark.parametrize(("score", "expected"), [(0.4, True), (0.5, False), (math.nan, False), (-math.inf, False)])
def test_only_a_lower_number_is_the_best(run_dir: Path, score: float, expected: bool) -> None:
    assert checkpoint.is_best(run_dir, score, LOSS) is expected


def test_a_loss_that_is_no_number_is_neither_best_nor_written(run_dir: Path, tmp_path: Path) -> None:
    assert not checkpoint.is_best(tmp_path / "without", math.nan, LOSS)
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.keep_best(run_dir, run_dir / "safetensors" / "epoch_2", math.nan, LOSS)
    assert json.loads((run_dir / "best" / "best_score.json").read_text())["best_score"] == 0.5


def test_best_follows_the_models_own_metric_and_its_direction(tmp_path: Path) -> None:
    accuracy = MonitoringMetric("val/accuracy", "maximize")
    for epoch, score in enumerate([0.5, 0.75, 0.75, 0.6], 1):
        folder = tmp_path / "safetensors" / f"epoch_{epoch}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(f"weights {epoch}")
        checkpoint.keep(tmp_path, f"epoch_{epoch}", score, accuracy)
    assert _best(tmp_path) == "weights 2"
    assert checkpoint.best_epoch(tmp_path) == 2
    told = json.loads((tmp_path / "best" / "best_score.json").read_text())
    assert (told["metric"], told["direction"], told["best_score"]) == ("val/accuracy", "maximize", 0.75)


def test_a_value_of_another_metric_is_no_hurdle(run_dir: Path) -> None:
    accuracy = MonitoringMetric("val/accuracy", "minimize")
    assert checkpoint.is_best(run_dir, 0.9, accuracy)
    assert not checkpoint.is_best(run_dir, 0.9, LOSS)
