"""A training that was killed after its last checkpoint is told apart from one that reported its success."""

import json
import os
from pathlib import Path

import pytest

from tao_skill_bank.runs import success

WRITTEN = 1_800_000_000


@pytest.mark.parametrize(
    ("lines", "earlier", "is_missing"),
    [
        ([], [], False),
        ([("RUNNING", -5)], [], True),
        ([("RUNNING", -5), ("FAILURE", 1)], [], True),
        ([("RUNNING", -5), ("SUCCESS", 0.001)], [], False),
        ([("SUCCESS", -0.5)], [], False),
        ([("STARTED", 9)], [("SUCCESS", 1)], False),
        ([("STARTED", 9)], [("RUNNING", -1)], True),
        ([("RUNNING", -1)], [("SUCCESS", -60)], True),
    ],
    ids=str,
)
def test_success_counts_from_the_checkpoint_on(
    lines: list[tuple[str, float]], earlier: list[tuple[str, float]], is_missing: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints" / "epoch_3"
    folder.mkdir(parents=True)
    (folder / "progress.json").write_text("{}")
    os.utime(folder / "progress.json", (WRITTEN, WRITTEN))
    write(tmp_path / "status.jsonl", lines)
    write(tmp_path / "logs" / "toy-train-0.status.jsonl", earlier)
    assert success.is_missing(tmp_path, folder) == is_missing
    assert not success.is_missing(tmp_path / "other", folder)


def write(path: Path, lines: list[tuple[str, float]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"state": state, "time": WRITTEN + after}) + "\n" for state, after in lines))
