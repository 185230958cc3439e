"""One file of a frozen vision tower's features."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tao_skill_bank.core import umask, unfinished
from tao_skill_bank.models.cosmos_reason.media import Features


def write(path: Path, features: Features) -> None:
    """Write features atomically."""
    from safetensors.torch import save_file

    about = {"grid": json.dumps(features.patches), "timestamps": json.dumps(features.timestamps)}
    write_whole(path, lambda work: save_file({"values": features.values.contiguous()}, str(work), about))


def read(path: Path) -> Features:
    """Return the features written by `write`."""
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        about = file.metadata()
        time, rows, columns = json.loads(about["grid"])
        return Features(file.get_tensor("values"), (time, rows, columns), tuple(json.loads(about["timestamps"])))


def write_whole(path: Path, write_to: Callable[[Path], Any]) -> None:
    """Write a file under a temporary name and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = unfinished.next_to(path)
    write_to(work)
    umask.follow(work)
    work.replace(path)
