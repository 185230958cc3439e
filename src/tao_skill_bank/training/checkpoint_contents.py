"""contents.json of a checkpoint: its files with their sizes, and its trained weights with their shapes.

`.metadata` holds the same as a pickle, which preflight must not read: a checkpoint may come from an untrusted source.
Checkpoints of earlier versions have no contents.json.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from torch.distributed.checkpoint.metadata import Metadata

from tao_skill_bank.bank.training_facts import TrainingFacts
from tao_skill_bank.core import json_reader, regular_files
from tao_skill_bank.training import checkpoint, sharded_state

FILE = "contents.json"


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds.

    Attributes:
        files: the minimum number of bytes of each file.
        shapes: of the trained weights, by their name in the model.

    """

    files: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]


def write(folder: Path, metadata: Metadata) -> None:
    """Record what torch has written into a folder."""
    written = sharded_state.weights(metadata)
    sizes = {sharded_state.METADATA_FILE: (folder / sharded_state.METADATA_FILE).stat().st_size}
    document = {
        "files": sizes | sharded_state.files(metadata),
        "weights": {
            name: {"shape": list(entry.size), "dtype": str(entry.properties.dtype).removeprefix("torch.")}
            for name, entry in written.items()
        },
    }
    (folder / FILE).write_text(json.dumps(document), encoding="utf-8")


def read(folder: Path, facts: TrainingFacts) -> Contents | None:
    """Return what a checkpoint holds; None where an earlier version wrote it. Raises BlockedError."""
    try:
        document = json_reader.loads(regular_files.read_bytes(folder / FILE))
        files = {_name(name): int(size) for name, size in document["files"].items()}
        return Contents(files, {name: _shape(entry) for name, entry in document["weights"].items()})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise checkpoint.broken(folder, ValueError(f"{FILE} is damaged ({error})"), facts) from None


def _name(name: str) -> str:
    if PurePath(name).name != name:
        raise ValueError(f"{name} is not a file of the folder")
    return name


def _shape(entry: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in entry["shape"])
