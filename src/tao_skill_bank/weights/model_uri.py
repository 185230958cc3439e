"""Names of checkpoints: `builtin://NAME`, `hf_model://ORG/NAME[@REVISION]`, a local folder, or a bare Hub id."""

import re
from collections.abc import Iterator
from pathlib import Path

from tao_skill_bank.core import locations, settings
from tao_skill_bank.weights.model_folders import is_model_folder

BUILTIN = "builtin://"
HUB = "hf_model://"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@\S+)?")
MODELS = Path(__file__).parents[1] / "models"


def normalise(name: str) -> str:
    """Return the URI of a model name; a bare `ORG/NAME` that is not a local path is a Hub id, a local path absolute."""
    if "://" in name:
        return name
    path = locations.absolute(name)
    return f"{HUB}{name}" if HUB_ID.fullmatch(name) and not path.exists() else str(path)


def builtin_packages() -> dict[str, str]:
    """Return the package that builds each embedded model, found by location: models/<package>/builtin/<name>/."""
    return {folder.name: folder.parents[1].name for folder in MODELS.glob("*/builtin/*") if is_model_folder(folder)}


def builtin_names() -> list[str]:
    """Return the names of the embedded models."""
    return sorted(builtin_packages())


def local_folder(uri: str) -> Path:
    """Return the folder of a URI's materialised checkpoint; a local path is returned as it is."""
    root = settings.state_dir() / "models"
    if uri.startswith(BUILTIN):
        return root / "builtin" / uri.removeprefix(BUILTIN)
    if uri.startswith(HUB):
        return root / "hub" / re.sub(r"[^\w.@-]+", "--", uri.removeprefix(HUB))
    return Path(uri)


def is_embedded(uri: str) -> bool:
    """Whether a checkpoint is a tiny one that the package makes itself."""
    return uri.startswith(BUILTIN)


def is_remote(uri: str) -> bool:
    """Return whether the checkpoint is downloaded or built before the launch."""
    return uri.startswith((BUILTIN, HUB))


def fetches(uris: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the unique (URI, folder) pairs of the checkpoints to materialise."""
    for uri in dict.fromkeys(uris):
        if is_remote(uri):
            yield uri, str(local_folder(uri))
