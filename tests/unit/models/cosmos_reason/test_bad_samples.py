"""A training record that cannot be read stops a training, or is skipped, named, stored and replayed on a resume."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tao_skill_bank.runs import results
from tao_skill_bank.runs.run_directory import RunDirectory

from .conftest import Document, diagnosis, losses
from .test_train import LORA, _torchrun

Run = Callable[[str, Document], int]


def broken(clips: Path, target: Path, count: int) -> tuple[Path, list[str]]:
    """Copy the training clips and cut some of them; returns the folder and their names."""
    shutil.copytree(clips / "train", target)
    records = json.loads((target / "annotations.json").read_text())
    names = [records[7 * number]["video"] for number in range(count)]
    for name in names:
        (target / name).write_bytes((target / name).read_bytes()[:200])
    return target, names


def with_data(spec: Document, folder: Path, **custom: object) -> Document:
    source = {"annotation_path": str(folder / "annotations.json"), "media_path": str(folder)}
    return {**spec, "custom": {**spec["custom"], "train_dataset": source, **custom}}


def skipped(run_dir: Path) -> list[str]:
    """Return the files that the result names."""
    entries = results.read(RunDirectory(run_dir)).skipped
    return [Path(str(re.search(r"\S+\.mp4", entry["message"])[0])).name for entry in entries]


def test_the_first_one_stops_the_training_by_default(
    train_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    folder, (name,) = broken(clips, tmp_path / "data", 1)
    assert run_program("train", with_data(train_spec, folder)) == 3
    assert Path(name).name in diagnosis(tmp_path / "run")["cause"]
    assert skipped(tmp_path / "run") == []


@pytest.mark.slow
@pytest.mark.parametrize("is_cached", [False, True], ids=["decoded", "features"])
def test_a_skipped_record_is_named_and_a_resumed_training_equals_one_in_one_go(
    is_cached: bool, train_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    folder, names = broken(clips, tmp_path / "data", 2)
    spec = with_data(train_spec, folder, on_bad_sample="skip", max_bad_share=0.1)
    if is_cached:
        spec["policy"]["lora"] = {**LORA, "target_modules": ["q_proj", "v_proj"]}
    assert run_program("train", spec) == 0
    assert sorted(skipped(tmp_path / "run")) == sorted(Path(name).name for name in names)
    assert len(losses(tmp_path / "run")) == 6
    parts = {**spec, "results_dir": str(tmp_path / "parts"), "train": {**spec["train"], "stop_epoch": 1}}
    assert run_program("train", parts) == 0
    shutil.copy(clips / "train" / names[0], folder / names[0])  # readable again: the resume replays the skip
    assert run_program("train", {**parts, "train": {**spec["train"], "resume": True}}) == 0
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "run"), rel=1e-6)
    assert sorted(skipped(tmp_path / "parts")) == sorted(skipped(tmp_path / "run"))


def test_more_than_the_share_ends_the_training_with_one_error_that_names_them(
    train_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    folder, names = broken(clips, tmp_path / "data", 3)
    spec = with_data(train_spec, folder, on_bad_sample="skip", max_bad_share=0.1)
    assert run_program("train", spec) == 3
    found = diagnosis(tmp_path / "run")
    assert found["code"] == "too_many_bad_samples"
    assert all(Path(name).name in found["cause"] for name in names)
    assert "custom.max_bad_share to 0.125" in found["cure"]


@pytest.mark.slow
@pytest.mark.parametrize(("share", "code"), [(0.1, 0), (0.05, 3)])
def test_two_processes_agree_on_what_is_skipped_and_on_the_share(
    share: float,
    code: int,
    train_spec: Document,
    clips: Path,
    tmp_path: Path,
    write_config: Callable[..., Path],
) -> None:
    folder, names = broken(clips, tmp_path / "data", 2)
    spec = with_data(train_spec, folder, on_bad_sample="skip", max_bad_share=share)
    spec["train"]["train_batch_per_replica"] = 4
    spec["policy"]["parallelism"] = {"dp_replicate_size": 2}
    finished = _torchrun(write_config(spec), 2)
    assert sorted(skipped(tmp_path / "run")) == sorted(Path(name).name for name in names)
    if code == 0:
        assert finished.returncode == 0, finished.stderr[-3000:]
        assert len(losses(tmp_path / "run")) == 6
    else:
        assert diagnosis(tmp_path / "run")["code"] == "too_many_bad_samples"
        exits = [json.loads(path.read_text())["exit_code"] for path in (tmp_path / "run" / "exit").glob("rank_*.json")]
        assert code in exits
