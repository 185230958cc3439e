"""Takes the named members out of a tar archive in an object store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.staging.stores import Store


@dataclass(frozen=True)
class Taken:
    """Members by name, how large they are, and how much was downloaded for them."""

    files: dict[str, Path]
    num_bytes: int
    downloaded: int


def take(store: Store, uri: str, names: Sequence[str], tell: Callable[[str], None]) -> Taken:
    raise NotImplementedError
