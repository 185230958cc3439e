"""Finds the locally available config.json of a model; the packaged ones are next to this file. No torch here."""

from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, yaml12
from tao_skill_bank.errors import BlockedError, UnknownNameError
from tao_skill_bank.training import inspection
from tao_skill_bank.weights import model_uri
from tao_skill_bank.weights.model_uri import BUILTIN, HUB

FOLDER = Path(__file__).parent
MODEL_TYPE = "qwen3_vl"
MIXTURE_TYPE = "qwen3_vl_moe"
DENSE_FIX = "Use a dense Qwen3-VL checkpoint, such as nvidia/Cosmos-Reason2-8B or Qwen/Qwen3-VL-32B-Instruct."


def find(uri: str) -> dict[str, Any]:
    """Return a locally available config.json of a model: of a folder, a fetched, builtin, cached or packaged model.

    Raises:
        UnknownNameError: there is none.
        BlockedError: it is of another model family, or a mixture of experts.

    """
    name = uri.removeprefix(HUB).partition("@")[0]
    for path in (*local_files(uri, "config.json"), packaged().get(name)):
        if path is not None and path.is_file():
            document = json_reader.read_object(path, "Download the checkpoint again.")
            require_dense(document.get("model_type"), str(path))
            return document
    message = f"The architecture of {uri} is not on this machine."
    raise UnknownNameError.of("unknown_architecture", message, "Give a local folder, or download the model first.")


def local_files(uri: str, file: str) -> list[Path]:
    """Return where a file of a model may lie on this machine: in its folder, fetched, builtin or cached."""
    name = uri.removeprefix(HUB).partition("@")[0]
    if uri.startswith(BUILTIN):
        return [FOLDER.parent / "builtin" / uri.removeprefix(BUILTIN) / file]
    places: list[Path | None] = [Path(uri) / file]
    if "/" in name and not Path(uri).is_absolute():
        materialised = model_uri.local_folder(model_uri.normalise(uri)) / file
        places[:0] = [materialised, inspection.cached_file(name, file)]
    return [path for path in places if path is not None]


def packaged() -> dict[str, Path]:
    """Return the packaged config of every hub checkpoint listed in `index.yaml`."""
    index: dict[str, list[str]] = yaml12.read(FOLDER / "index.yaml")
    return {name: FOLDER / file for file, names in index.items() for name in names}


def require_dense(model_type: Any, place: str) -> None:
    """Raise BlockedError when this skill does not support a model type; `place` is where it was read."""
    if model_type == MODEL_TYPE:
        return
    what = "a mixture of experts" if model_type == MIXTURE_TYPE else f"a {model_type} model"
    message = f"{place} describes {what}; this skill runs dense Qwen3-VL models ({MODEL_TYPE}) only."
    raise BlockedError.of("model_type", message, DENSE_FIX, path=place, got=model_type, expected=MODEL_TYPE)
