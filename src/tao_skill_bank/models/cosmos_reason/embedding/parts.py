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
from tao_skill_bank.weights.safetensors_files import corruption_of

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


def read(folder: Path, wanted: Collection[str]) -> dict[str, Any]:
    """Return float16 vectors (dimension,) by their keys, of those that are wanted; a broken part is not there."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        keys, vectors = _read(path)
        found |= {key: vectors[place] for place, key in enumerate(keys) if key in wanted}
    return found


def _read(path: Path) -> tuple[list[str], Any]:
    from safetensors import SafetensorError, safe_open

    try:
        if corruption_of(path):
            return [], None
        with safe_open(str(path), "np") as file:
            vectors = file.get_tensor(VECTORS)
            keys = json_reader.loads((file.metadata() or {}).get(KEYS, "null"))
    except (OSError, ValueError, SafetensorError):
        return [], None
    is_whole = isinstance(keys, list) and vectors.ndim == 2 and len(keys) == len(vectors)
    return (keys, vectors) if is_whole and vectors.dtype.name == "float16" else ([], None)
