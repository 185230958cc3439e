"""The vectors that a run has computed so far, in whole files: a run that is killed and repeated computes the rest."""

import json
import secrets
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tao_skill_bank.core import json_reader
from tao_skill_bank.models.cosmos_reason.feature_file import write_whole
from tao_skill_bank.runs import fencing
from tao_skill_bank.weights.safetensors_files import corruption_of, read_header

PART_ROWS, PART_SECONDS = 4096, 10.0  # a part is written after so many rows or seconds
KEYS, VECTORS = "keys", "vectors"


class Parts:
    """Collects vectors by the key of their content, and writes them in parts. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys: list[str] = []
        self._vectors: list[Tensor] = []
        self._since = time.monotonic()

    def add(self, keys: Sequence[str], vectors: Tensor) -> None:
        """Take float32 vectors (rows, dimension), and write a part where one is due."""
        self._keys += keys
        self._vectors.append(vectors.to(torch.float16))
        if len(self._keys) >= PART_ROWS or time.monotonic() - self._since >= PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was taken since the last part. Raises JobFailedError in a superseded process."""
        if self._keys:
            from safetensors.torch import save_file

            fencing.require_current()
            about, vectors = {KEYS: json.dumps(self._keys)}, torch.cat(self._vectors).contiguous()
            path = self.folder / f"{secrets.token_hex(8)}.safetensors"
            write_whole(path, lambda work: save_file({VECTORS: vectors}, str(work), about))
        self._keys, self._vectors, self._since = [], [], time.monotonic()


def saved(folder: Path) -> set[str]:
    """Return the keys of all vectors that are saved."""
    return {key for path in _files(folder) for key in _keys(path)}


def read(folder: Path, wanted: Collection[str]) -> dict[str, Any]:
    """Return float16 vectors (dimension,) by their keys, of those that are wanted."""
    from safetensors import safe_open

    found: dict[str, Any] = {}
    for path in _files(folder):
        places = {key: place for place, key in enumerate(_keys(path)) if key in wanted}
        if places:
            with safe_open(str(path), "np") as file:
                vectors = file.get_tensor(VECTORS)
            found |= {key: vectors[place] for key, place in places.items()}
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _keys(path: Path) -> list[str]:
    """Return the keys of a part, in the order of its vectors; none of a broken one, whose rows are embedded again."""
    try:
        header = {} if corruption_of(path) else read_header(path)
        keys = json_reader.loads(header.get("__metadata__", {}).get(KEYS, "null"))
    except (OSError, ValueError):
        return []
    about = header.get(VECTORS, {})
    is_whole = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    fits = is_whole and about.get("dtype") == "F16" and about.get("shape", [])[:1] == [len(keys)]
    return keys if fits and len(about["shape"]) == 2 else []
