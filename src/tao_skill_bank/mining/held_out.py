"""The clips that no mined clip may show: those of the queries and of every other set that a model is judged on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.core import locations
from tao_skill_bank.data import dataset_root
from tao_skill_bank.errors import RequestError
from tao_skill_bank.mining import pool_records


@dataclass(frozen=True)
class HeldOut:
    """Held-out clips.

    Attributes:
        paths: of their media, each once.
        sources: what the records say of where their clips come from.

    """

    paths: tuple[str, ...]
    sources: frozenset[str]


def read(query_paths: Iterable[str], against: Sequence[Path], source_key: str) -> HeldOut:
    """Return the clips of the queries and of annotation files.

    Raises:
        BlockedError: a file cannot be read.
        RequestError: no held-out record has the source key.

    """
    paths = dict.fromkeys(query_paths)
    sources: set[str] = set()
    for path in against:
        file = dataset_root.annotations_in(str(path)) if path.is_dir() else path
        annotations = pool_records.read(locations.absolute(file), None, source_key)
        paths |= dict.fromkeys(annotations.by_file)
        sources |= set(filter(None, annotations.sources))
    if source_key and against and not sources:
        message = f"No record of {', '.join(map(str, against))} has the key '{source_key}'."
        raise RequestError.of("source_key_unknown", message, "Name the key of the clip's source.", path="--source-key")
    return HeldOut(tuple(paths), frozenset(sources))
