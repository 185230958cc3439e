"""A dataset as a workflow names it: an annotation file, a folder, or {annotation_path, media_path}."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.core import locations
from tao_skill_bank.data import dataset_root

Named = str | dict[str, str]


@dataclass(frozen=True)
class Dataset:
    """An annotation file, and the folder to which its media names are relative."""

    annotations: Path
    media: Path


def placed(named: str | Mapping[str, str], media: str | None = None) -> Dataset:
    """Return where a dataset is; `media` wins over what its name says, by default the folder of the annotations."""
    if isinstance(named, Mapping):
        return placed(named["annotation_path"], media or named["media_path"])
    given = locations.absolute(named)
    if given.is_dir():
        return Dataset(
            Path(dataset_root.annotations_in(str(given))),
            locations.absolute(media or dataset_root.media_in(str(given))),
        )
    return Dataset(given, locations.absolute(media or str(given.parent)))
