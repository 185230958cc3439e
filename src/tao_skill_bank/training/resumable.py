"""What surrounds every `resumable` program: a spec and a checkpoint in, what forbids to go on from it out.

Preflight asks it before anything is written; the trainer looks again when it loads the checkpoint.
"""

import argparse
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch.distributed.checkpoint.filesystem import FileSystemReader

from tao_skill_bank.errors import Problem, TaoSkillsError
from tao_skill_bank.training import checkpoint
from tao_skill_bank.training.config import load_spec

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What forbids to go on from a checkpoint, and what could not be compared here."""

    problems: tuple[Problem, ...] = ()
    not_compared: str = ""


def main(kind: type[T], check: Callable[[T, Path], Answer]) -> None:
    """Print, as one JSON document, what `check` says of the spec in `--config` and the folder `--checkpoint`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True, help="TOML file with the spec of a training")
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder that it is to go on from")
    flags = parser.parse_args()
    try:
        require_whole(flags.checkpoint)
        answer = check(load_spec(kind, flags.config), flags.checkpoint)
    except TaoSkillsError as error:
        answer = Answer(error.problems)
    document: dict[str, Any] = {
        "problems": [problem.to_json() for problem in answer.problems],
        "not_compared": answer.not_compared,
    }
    sys.stdout.write(json.dumps(document) + "\n")


def require_whole(folder: Path) -> None:
    """Raise BlockedError when a file of a checkpoint is missing or cut. The tensors themselves are not read."""
    try:
        entries = FileSystemReader(str(folder)).read_metadata().storage_data or {}
        ends: dict[str, int] = {}
        for entry in entries.values():
            ends[entry.relative_path] = max(ends.get(entry.relative_path, 0), entry.offset + entry.length)
        for name, end in ends.items():
            size = (folder / name).stat().st_size
            if size < end:
                raise EOFError(f"{name} holds {size} of {end} bytes")
        for path in folder.glob("random_*.pt"):
            if not zipfile.is_zipfile(path):
                raise EOFError(f"{path.name} is cut short")
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises anything
        raise checkpoint.broken(folder, error) from None
