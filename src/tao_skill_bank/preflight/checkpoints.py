"""Checks that named checkpoints exist, are complete, and belong together. Nothing is loaded."""

import json
from pathlib import Path
from typing import Any

from tao_skill_bank import model_uri, safetensors_files, settings
from tao_skill_bank.contracts import Finding, Job, Workload
from tao_skill_bank.preflight import resume
from tao_skill_bank.preflight.findings import blocking, info, listed, not_checked, warning

INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE_FILE = "base_model.json"  # written by training.adapters


def check(job: Job) -> list[Finding]:
    """Return the findings of the model, its base and the checkpoint to resume from."""
    workload = job.workload
    is_adapter = workload.base_model is not None
    found = _adapter(workload) if is_adapter else _model(workload.model)
    if workload.base_model:
        found += _model(workload.base_model)
    return [*found, *resume.check(job)]


def _model(uri: str) -> list[Finding]:
    if uri.startswith(model_uri.BUILTIN):
        return []
    if uri.startswith(model_uri.HUB):
        return _cached_when_offline(uri)
    if "://" in uri:
        return [_remote(uri)]
    folder = Path(uri)
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        fix = f"Give a checkpoint folder, or {model_uri.HUB}ORG/NAME for a checkpoint of the hub."
        return [_missing(f"Checkpoint {uri} {what}.", fix, uri)]
    if not (folder / "config.json").is_file():
        is_adapter = (folder / ADAPTER_CONFIG).is_file()
        what = "is an adapter, not a whole checkpoint" if is_adapter else "holds no config.json"
        fix = "Set enable_lora and base_model_path." if is_adapter else "Give a complete checkpoint folder."
        return [blocking("checkpoint_incomplete", f"Checkpoint {uri} {what}.", fix, uri)]
    return _weights(folder)


def _weights(folder: Path) -> list[Finding]:
    index = folder / INDEX
    if index.is_file():
        document = _read_json(index)
        names = sorted(set(document.get("weight_map", {}).values())) if isinstance(document, dict) else []
        if not names:
            message = f"{index} names no weight files."
            return [blocking("checkpoint_broken", message, "Copy the checkpoint again.", str(index))]
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob("*.safetensors"))
    absent = [file.name for file in files if not file.is_file()]
    if absent or not files:
        what = f"lacks {listed(absent)}" if absent else "holds no *.safetensors weights"
        return [
            blocking(
                "checkpoint_incomplete",
                f"Checkpoint {folder} {what}.",
                "Copy or download it again.",
                str(folder),
                files=absent,
            )
        ]
    broken = {file.name: reason for file in files if (reason := safetensors_files.fault_of(file))}
    if broken:
        told = listed([f"{name} {reason}" for name, reason in broken.items()])
        return [
            blocking(
                "checkpoint_broken",
                f"Weights of {folder} are damaged: {told}.",
                "Copy or download it again.",
                str(folder),
                files=broken,
            )
        ]
    return []


def _adapter(workload: Workload) -> list[Finding]:
    folder = Path(workload.model)
    if workload.model.startswith(model_uri.HUB):
        return _cached_when_offline(workload.model)
    if "://" in workload.model:
        return [_remote(workload.model)]
    if not folder.is_dir():
        fix = "Give the folder of an adapter, or switch enable_lora off."
        return [_missing(f"Adapter {folder} does not exist.", fix, str(folder))]
    config = _read_json(folder / ADAPTER_CONFIG)
    if not isinstance(config, dict):
        message = f"{folder} holds no readable {ADAPTER_CONFIG}: it is no adapter."
        return [
            blocking("adapter_incomplete", message, "Give an adapter folder, or switch enable_lora off.", str(folder))
        ]
    weights = folder / ADAPTER_WEIGHTS
    fault = safetensors_files.fault_of(weights) if weights.is_file() else "does not exist"
    if fault:
        message = f"Adapter weights {weights}: the file {fault}."
        return [blocking("adapter_incomplete", message, "Copy the adapter again.", str(folder))]
    return _base_of_adapter(folder, config, workload.base_model or "")


def _base_of_adapter(folder: Path, config: dict[str, Any], named: str) -> list[Finding]:
    """Compare the base of an adapter with the named one: by its weights where both are known, else by name."""
    identity = _read_json(folder / BASE_FILE)
    trained_on = identity if isinstance(identity, dict) else {}
    made_for = trained_on.get("path") or config.get("base_model_name_or_path")
    if not made_for or not named:
        return []
    theirs = trained_on.get("fingerprint")
    ours = safetensors_files.fingerprint(model_uri.local_folder(model_uri.normalise(named))) if theirs else None
    evidence = {"made_for": made_for, "named": named, "compared": "weights" if ours else "names"}
    is_same = ours == theirs if ours else _base_name(made_for) == _base_name(named) or _same_folder(made_for, named)
    if is_same:
        return [info("adapter_base", f"The adapter {folder} was made for {made_for}.", str(folder), **evidence)]
    message = f"The adapter {folder} was made for another base: {made_for}, not {named}"
    fix = f"Set the base model to {made_for}, or give an adapter of {named}."
    if ours:
        message = f"{message}: their weights differ."
    elif all(model_uri.is_remote(model_uri.normalise(name)) for name in (made_for, named)):
        message = f"{message}."
    else:
        message = f"{message}, by their names; their weights could not be compared."
        return [warning("adapter_of_another_base", message, fix, str(folder), **evidence)]
    return [blocking("adapter_of_another_base", message, fix, str(folder), **evidence)]


def _base_name(uri: str) -> str:
    """Return the last part of a model's name without scheme and revision, as folders and URIs share it."""
    return (
        uri.partition("://")[2].partition("@")[0].rstrip("/").rpartition("/")[2].lower()
        if "://" in uri
        else (uri.rstrip("/").rpartition("/")[2].partition("@")[0].rpartition("--")[2].lower())
    )


def _same_folder(made_for: str, named: str) -> bool:
    ours = model_uri.local_folder(model_uri.normalise(made_for))
    theirs = model_uri.local_folder(model_uri.normalise(named))
    return ours.resolve() == theirs.resolve()


def _cached_when_offline(uri: str) -> list[Finding]:
    if not settings.hub_is_offline() or (model_uri.local_folder(uri) / "config.json").is_file():
        return []
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = uri.removeprefix(model_uri.HUB).partition("@")
    if isinstance(try_to_load_from_cache(repository, "config.json", revision=revision or None), str):
        return []
    message = f"The hub is switched off (HF_HUB_OFFLINE) and {uri} is not in the local cache."
    return [_missing(message, f"Unset HF_HUB_OFFLINE, or run: hf download {repository}", uri)]


def _remote(uri: str) -> Finding:
    return not_checked("checkpoint_remote", f"Checkpoint {uri} is not on this machine.", "Stage it locally.", uri)


def _missing(message: str, fix: str, path: str) -> Finding:
    return blocking("checkpoint_missing", message, fix, path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
