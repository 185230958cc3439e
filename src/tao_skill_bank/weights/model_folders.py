"""Model folders on disk: a checkpoint (config.json and weights), or diffusers' pipeline (model_index.json, parts)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, plain_text, regular_files
from tao_skill_bank.errors import BlockedError

CONFIG, PIPELINE_INDEX = "config.json", "model_index.json"
MARKERS = (CONFIG, PIPELINE_INDEX)  # files that identify a model folder
WEIGHT_INDICES = "*.safetensors.index*.json"
UNSAVED_PARTS = ("safety_checker",)  # listed by pipelines that load it from elsewhere


def is_model_folder(folder: Path) -> bool:
    """Return whether a folder contains a model: a checkpoint or a pipeline."""
    return any((folder / marker).is_file() for marker in MARKERS)


def checkpoints_of(folder: Path) -> list[Path]:
    """Return the folders that need weights: the folder itself, or a pipeline's parts that have a config.json."""
    if not (folder / PIPELINE_INDEX).is_file():
        return [folder]
    return [part for part in parts_of(folder) if (part / CONFIG).is_file()]


def parts_of(folder: Path) -> list[Path]:
    """Return the folders of a pipeline's parts, as model_index.json names them; they need not exist."""
    try:
        index: Any = json_reader.loads(regular_files.read_bytes(folder / PIPELINE_INDEX))
    except (OSError, ValueError):
        return []
    named = index.items() if isinstance(index, dict) else ()
    is_part = {name: isinstance(value, list) and bool(value) and value[0] is not None for name, value in named}
    return [folder / name for name, holds in is_part.items() if holds and name not in UNSAVED_PARTS and _is_name(name)]


def missing_parts(folder: Path) -> list[str]:
    """Return the missing parts of a pipeline: a part must have its own configuration."""
    return [part.name for part in parts_of(folder) if not any(part.glob("*config.json"))]


def weight_names(checkpoint: Path) -> list[str] | None:
    """Return the weight files that a checkpoint needs: listed by its index, else the existing ones; None if broken."""
    indices = sorted(checkpoint.glob(WEIGHT_INDICES))
    if not indices:
        return sorted(file.name for file in checkpoint.glob("*.safetensors"))
    names = [set(_shards(index)) for index in indices]
    return sorted(set().union(*names)) if all(names) else None


def is_complete(folder: Path) -> bool:
    """Return whether a model has its configs and all its weights: a cache may contain only some files of a model."""
    if not is_model_folder(folder) or missing_parts(folder):
        return False
    checkpoints = checkpoints_of(folder)
    return bool(checkpoints) and all(_has_weights(checkpoint) for checkpoint in checkpoints)


def _has_weights(checkpoint: Path) -> bool:
    names = weight_names(checkpoint)
    return bool(names) and all((checkpoint / name).is_file() for name in names or ())


def weight_map(index: Path) -> dict[str, str]:
    """Return the file of every weight, as an index of shards names them. Raises BlockedError where it is none."""
    fix = "Download the checkpoint again."
    found = json_reader.read_object(index, fix).get("weight_map")
    if not isinstance(found, dict) or not all(_is_name(name) for name in found.values()):
        raise BlockedError.of("index_broken", f"{index} does not name the files of the weights.", fix, path=str(index))
    return found


def _shards(index: Path) -> Iterator[str]:
    with suppress(BlockedError):
        yield from weight_map(index).values()


def _is_name(name: object) -> bool:
    """Return whether a document names a file or folder below its own."""
    return isinstance(name, str) and not plain_text.fault_of_path(name) and not {"", ".", ".."} & set(name.split("/"))
