"""Reads the sharded tensors of a checkpoint folder without running any code from it.

torch.distributed.checkpoint reads `.metadata` with `pickle.load`, and what is not a tensor with
`torch.load(weights_only=False)`: both call what the file names. Here the first admits only the types that a
checkpoint consists of, and the second only what `weights_only=True` admits, as torch itself reads the tensors.
"""

import io
from pathlib import Path, PurePath
from pickle import UnpicklingError
from typing import Any

import torch
from torch.distributed.checkpoint import state_dict_loader
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import ReadItem

from tao_skill_bank.core import admitted_pickle
from tao_skill_bank.core.admitted_pickle import Global, RefusedPickleError

METADATA_FILE = ".metadata"
_TYPES = (
    "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "TensorProperties",
    "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING",
)  # fmt: skip
ADMITTED: frozenset[Global] = frozenset(
    {
        *(("torch.distributed.checkpoint.metadata", name) for name in _TYPES),
        ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        ("torch", "Size"),
        ("torch.serialization", "_get_layout"),
        *(("torch", name) for name, value in vars(torch).items() if isinstance(value, torch.dtype)),
        ("pathlib", "PosixPath"),
        ("pathlib._local", "PosixPath"),  # as Python 3.13 names it
    }
)


def read_metadata(folder: Path) -> Metadata:
    """Return what a checkpoint holds, and where in its files.

    Raises:
        RefusedPickleError: `.metadata` asks for a type that no checkpoint contains, or for a file outside the folder.
        UnpicklingError, EOFError, ValueError, KeyError: it is damaged.

    """
    with (folder / METADATA_FILE).open("rb") as file:
        metadata: Metadata = admitted_pickle.load(file, ADMITTED)
    try:
        names, _ = list(files(metadata)), shapes(metadata)
    except (AttributeError, TypeError) as error:  # it is something else
        raise UnpicklingError(str(error)) from None
    for name in names:
        if PurePath(name).name != name:
            raise RefusedPickleError(f"it names {name}, which is not a file of the folder")
    return metadata


def files(metadata: Metadata) -> dict[str, int]:
    """Return the number of bytes that each file with tensors has."""
    ends: dict[str, int] = {}
    for entry in (metadata.storage_data or {}).values():
        ends[entry.relative_path] = max(ends.get(entry.relative_path, 0), entry.offset + entry.length)
    return ends


def weights(metadata: Metadata) -> dict[str, TensorStorageMetadata]:
    """Return the trained weights by their name in the model."""
    return {
        name.removeprefix("model."): entry
        for name, entry in metadata.state_dict_metadata.items()
        if name.startswith("model.") and isinstance(entry, TensorStorageMetadata)
    }


def shapes(metadata: Metadata) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the trained weights."""
    return {name: tuple(entry.size) for name, entry in weights(metadata).items()}


def load(state: dict[str, Any], folder: Path, metadata: Metadata) -> None:
    """Load a checkpoint into `state` in place. Every rank calls this."""
    state_dict_loader.load(state, storage_reader=_Reader(folder, metadata), planner=_Planner())


class _Reader(FileSystemReader):
    """Reads the files of a folder whose metadata has been read."""

    def __init__(self, folder: Path, metadata: Metadata) -> None:
        super().__init__(folder)
        self._metadata = metadata

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        return self._metadata


class _Planner(DefaultLoadPlanner):
    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        admitted = io.BytesIO()  # the base class loads any object
        torch.save(torch.load(value, weights_only=True), admitted)
        admitted.seek(0)
        super().load_bytes(read_item, admitted)
