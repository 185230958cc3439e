"""Names of the folders under checkpoints/: epoch_N after a whole epoch, step_N where a training ended within one."""

import re
from pathlib import Path

from tao_skill_bank.core import json_reader, regular_files

FOLDER = re.compile(r"(epoch|step)_([0-9]{1,18})")
PROGRESS_FILE = "progress.json"
REMOVED_FILE = "checkpoints_removed.json"  # in a run directory: why its checkpoints are gone


def is_checkpoint_name(name: str) -> bool:
    """Return whether a folder of this name holds a checkpoint."""
    return FOLDER.fullmatch(name) is not None


def position(folder: Path) -> tuple[int, bool, int]:
    """Return the sort key of checkpoints, oldest first: optimizer step, then name.

    An export does not say its step: one of a step is the end of a training, newer than those of its epochs.
    """
    match = FOLDER.fullmatch(folder.name)
    kind, number = (match[1], int(match[2])) if match else ("", -1)
    try:
        step = int(json_reader.loads(regular_files.read_bytes(folder / PROGRESS_FILE))["step"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        step = -1
    return step, kind == ("epoch" if step >= 0 else "step"), number


def is_later(name: str, epoch: int, step: int) -> bool:
    """Return whether a folder of this name was saved after so many whole epochs and steps."""
    match = FOLDER.fullmatch(name)
    return match is not None and int(match[2]) > (epoch if match[1] == "epoch" else step)


def all_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first."""
    return sorted((path for path in folder.glob("*_*") if is_checkpoint_name(path.name)), key=position)


def newest(folder: Path) -> Path | None:
    """Return the checkpoint with the most steps, of an epoch or of an interruption."""
    found = all_in(folder)
    return found[-1] if found else None
