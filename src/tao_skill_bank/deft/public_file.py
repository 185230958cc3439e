"""Reads the `specs/workflow.yaml` of the public bank's DEFT workflow, so that its users can start from it.

Its iterations train on what was mined of `train_dataset`, from the baseline each time or, with `continual_model`, from
the newest checkpoint. The pool is therefore that dataset, and no earlier data is mixed in.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.catalog import did_you_mean
from tao_skill_bank.core import json_reader, locations, nested, yaml12
from tao_skill_bank.deft import SKILL
from tao_skill_bank.deft.inputs import Wanted, set_by_loop
from tao_skill_bank.errors import BlockedError, Problem, RequestError

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "run": ("name", "max_iterations"),
    "kpi_dataset": ("annotations_path", "media_dir"),
    "train_dataset": ("annotations_path", "media_dir"),
    "cosmos_reason": ("baseline_model_path", "base_evaluate_toml", "base_train_toml", "continual_model"),
    "mining": ("embeddings_modality", "embedding_parquets", "mine_unique_only"),
}
SPECS, CONTRACT = "specs", "config.json"
DEFAULT_MODALITY = "video"


def read(path: Path) -> Wanted:
    """Return what a file asks for; relative paths are of its workspace, the folder around `specs`.

    Raises:
        RequestError: it has unknown or missing keys, or asks for something that is not done here.
        BlockedError: a TOML file that it names cannot be read.

    """
    document = yaml12.read(path)
    problems = list(_problems(document, path))
    if problems:
        raise RequestError(problems)
    workspace = path.absolute().parent
    workspace = workspace.parent if workspace.name == SPECS else workspace
    model, mining = document["cosmos_reason"], document.get("mining") or {}
    modality = str(mining.get("embeddings_modality", DEFAULT_MODALITY))
    overrides: dict[str, Mapping[str, Any]] = {"embed": _modalities()[modality]}
    for action, key in (("evaluate", "base_evaluate_toml"), ("train", "base_train_toml")):
        if model.get(key):
            overrides[action] = _without_loops_own(action, _toml(_placed(model[key], workspace)))
    parquets = mining.get("embedding_parquets") or {}
    given = {
        "kpi": _dataset(document["kpi_dataset"], workspace),
        "pool": _dataset(document["train_dataset"], workspace),
        "iterations": document.get("run", {}).get("max_iterations"),
        "continual": model.get("continual_model"),
        "kpi_embeddings": _optional(parquets.get("kpi"), workspace),
        "pool_embeddings": _optional(parquets.get("train"), workspace),
    }
    named = _model(model["baseline_model_path"], workspace)
    return Wanted(named, overrides, {name: value for name, value in given.items() if value is not None})


def _modalities() -> dict[str, dict[str, Any]]:
    """Return the overrides of `embed` for each modality that the file may name, as the model skill declares them."""
    contract = json_reader.read_object(catalog.find(SKILL).folder / CONTRACT, "Restore the skill's file.")
    found: dict[str, dict[str, Any]] = contract["deft"]["embedding_modalities"]
    return found


def _problems(document: Any, path: Path) -> Iterator[Problem]:
    if not isinstance(document, dict):
        yield Problem("invalid_deft_file", f"{path} is not a mapping.", "Give a specs/workflow.yaml.", str(path))
        return
    for name, value in document.items():
        known = SECTIONS.get(name)
        if known is None:
            hint = did_you_mean(str(name), SECTIONS)
            yield Problem("unknown_key", f"{path}: {name} is not understood.{hint}", "Remove it.", str(name))
        elif not isinstance(value, dict):
            yield Problem("invalid_value", f"{path}: {name} is not a mapping.", "Write keys and values.", name)
        else:
            for key in value:
                if key not in known:
                    hint = did_you_mean(str(key), known)
                    message = f"{path}: {name}.{key} is not understood.{hint}"
                    yield Problem("unknown_key", message, "Remove it.", f"{name}.{key}")
    needed = (("kpi_dataset", "annotations_path"), ("kpi_dataset", "media_dir"), ("train_dataset", "annotations_path"))
    for name, key in (*needed, ("train_dataset", "media_dir"), ("cosmos_reason", "baseline_model_path")):
        section = document.get(name)
        if not isinstance(section, dict) or not isinstance(section.get(key), str):
            yield Problem("missing_key", f"{path} lacks {name}.{key}.", f"Add {name}.{key}.", f"{name}.{key}")
    mining = document.get("mining")
    if isinstance(mining, dict):
        yield from _of_mining(mining, path)


def _of_mining(mining: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    modality, known = mining.get("embeddings_modality", DEFAULT_MODALITY), list(_modalities())
    if modality not in known:
        message = f"{path}: mining.embeddings_modality is {modality!r}."
        fix = f"Use one of: {', '.join(known)}."
        yield Problem("invalid_value", message, fix, "mining.embeddings_modality", modality, known)
    if mining.get("mine_unique_only", True) is not True:
        message = f"{path}: mining.mine_unique_only is off, and here no clip is mined twice."
        yield Problem("invalid_value", message, "Set it to true.", "mining.mine_unique_only")


def _dataset(section: Mapping[str, str], workspace: Path) -> dict[str, str]:
    parts = {"annotation_path": section["annotations_path"], "media_path": section["media_dir"]}
    return {key: str(_placed(value, workspace)) for key, value in parts.items()}


def _optional(name: Any, workspace: Path) -> str | None:
    return str(_placed(name, workspace)) if isinstance(name, str) and name else None


def _placed(name: str, workspace: Path) -> Path:
    return locations.absolute(workspace / name)


def _model(name: str, workspace: Path) -> str:
    """Return a model: a folder of the workspace where there is one, else its name as it is."""
    return str(_placed(name, workspace)) if (workspace / name).is_dir() else name


def _without_loops_own(action: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a spec without the model, data and folders that it names: the file itself gives those of the loop."""
    own = set_by_loop(action)
    return {path: value for path, value in nested.flatten(spec) if path not in own}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fix = "Correct the file, or its name in the workflow.yaml."
        raise BlockedError.of("spec_unreadable", f"{path} cannot be read: {error}", fix, path=str(path)) from None
