"""The frame of every `resumable` program: it takes a spec and a checkpoint, and prints what prevents resuming from it.

Preflight runs it before anything is written; the trainer checks again when it loads the checkpoint. The folder may come
from an untrusted source, and a pickle runs what it names: here only JSON and the ends of archives are read.
"""

import argparse
import json
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tao_skill_bank.bank.training_facts import TrainingFacts
from tao_skill_bank.errors import Problem, TaoSkillsError
from tao_skill_bank.training import checkpoint, checkpoint_contents
from tao_skill_bank.training.checkpoint_contents import Contents
from tao_skill_bank.training.config import load_spec

T = TypeVar("T")
END_OF_ARCHIVE, END_BYTES = b"PK\5\6", 22  # the last record of a zip archive without a comment


@dataclass(frozen=True)
class Answer:
    """What prevents resuming from a checkpoint, and what could not be compared here."""

    problems: tuple[Problem, ...] = ()
    not_compared: str = ""


def main(kind: type[T], check: Callable[[T, Path], Answer], facts: TrainingFacts) -> None:
    """Print, as one JSON document, what `check` finds for the spec in `--config` and the folder `--checkpoint`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True, help="TOML file with the spec of a training")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder to resume from")
    flags = parser.parse_args()
    try:
        require_whole(flags.checkpoint, facts)
        answer = check(load_spec(kind, flags.config), flags.checkpoint)
    except TaoSkillsError as error:
        answer = Answer(error.problems)
    document: dict[str, Any] = {
        "problems": [problem.to_json() for problem in answer.problems],
        "not_compared": answer.not_compared,
    }
    sys.stdout.write(json.dumps(document) + "\n")


def require_whole(folder: Path, facts: TrainingFacts) -> None:
    """Raise BlockedError when a file of a checkpoint is missing or truncated. Neither tensors nor pickles are read."""
    contents = checkpoint_contents.read(folder, facts)
    try:
        if contents is None:
            _require_archives(folder)
        else:
            _require_sizes(folder, contents)
        for path in folder.glob("random_*.pt"):
            if not zipfile.is_zipfile(path):
                raise EOFError(f"{path.name} is truncated")
    except (OSError, EOFError, ValueError) as error:
        raise checkpoint.broken(folder, error, facts) from None


def _require_sizes(folder: Path, contents: Contents) -> None:
    for name, size in contents.files.items():
        found = (folder / name).stat().st_size
        if found < size:
            raise EOFError(f"{name} holds {found} of {size} bytes")


def _require_archives(folder: Path) -> None:
    """Check the last bytes of the files with tensors, each of which is a sequence of zip archives."""
    files = sorted(folder.glob("*.distcp"))
    if not files:
        raise EOFError("it holds no *.distcp file")
    for path in files:
        with path.open("rb") as file:
            file.seek(-min(END_BYTES, path.stat().st_size), os.SEEK_END)
            if not file.read().startswith(END_OF_ARCHIVE):
                raise EOFError(f"{path.name} is truncated")
