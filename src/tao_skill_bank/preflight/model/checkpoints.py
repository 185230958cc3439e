"""Checks that named checkpoints exist, are complete, and belong together. Nothing is loaded."""

from pathlib import Path

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Finding, Job, Workload
from tao_skill_bank.core import settings
from tao_skill_bank.core.findings import blocking, listed, not_checked
from tao_skill_bank.runs.run_directory import read_json_file
from tao_skill_bank.weights import adapter_base, model_folders, model_uri, safetensors_files
from tao_skill_bank.weights.adapter_files import CONFIG_FILE

INDEX = "model.safetensors.index.json"


def check(job: Job) -> list[Finding]:
    """Return the findings of the model and its base."""
    workload = job.workload
    is_adapter = workload.base_model is not None
    found = _adapter(workload) if is_adapter else _model(job, workload.model)
    if workload.base_model:
        found += _model(job, workload.base_model)
    return [*found, *_whole(workload)]


def _model(job: Job, uri: str) -> list[Finding]:
    if not uri or uri.startswith(model_uri.BUILTIN):
        return []
    if uri.startswith(model_uri.HUB):
        return _cached_when_offline(uri)
    if "://" in uri:
        return [_remote(uri)]
    folder = Path(uri)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        fix = f"Give a checkpoint folder, or {model_uri.HUB}ORG/NAME for a checkpoint of the hub."
        return [_missing(f"Checkpoint {uri} {what}.", fix, uri)]
    if not model_folders.is_model_folder(folder):
        is_adapter = (folder / CONFIG_FILE).is_file()
        what = "is an adapter, not a whole checkpoint" if is_adapter else "holds no config.json and no model_index.json"
        fix = _adapter_fix(job) if is_adapter else "Give a complete checkpoint folder."
        return [blocking("checkpoint_incomplete", f"Checkpoint {uri} {what}.", fix, uri)]
    return _weights(folder)


def _adapter_fix(job: Job) -> str:
    """Return how an adapter is read: by the keys of this action, else of another one of the skill."""
    actions = catalog.find(job.skill).info.actions
    for name in (job.action, *actions):
        keys = actions[name].parent
        if keys.adapter and keys.base:
            return f"Action {name} reads an adapter: set {keys.adapter}=true and {keys.base}=MODEL."
    return "Give the folder of a whole checkpoint."


def _whole(workload: Workload) -> list[Finding]:
    """Block a quantized checkpoint where its weights are needed as numbers; peft works on bitsandbytes' packed ones."""
    uri = workload.base_model or workload.model
    if not workload.needs_whole_weights or "://" in uri:
        return []
    config = read_json_file(Path(uri) / model_folders.CONFIG)
    stored = config.get("quantization_config") if isinstance(config, dict) else None
    if not isinstance(stored, dict) or stored.get("quant_method") == "bitsandbytes":
        return []
    message = f"Checkpoint {uri} is quantized: it can run inference, but cannot be trained, merged or quantized again."
    return [blocking("checkpoint_quantized", message, "Give the checkpoint that it was quantized from.", uri)]


def _weights(folder: Path) -> list[Finding]:
    if parts := model_folders.missing_parts(folder):
        return [_incomplete(folder, parts)]
    named = {part: model_folders.weight_names(part) for part in model_folders.checkpoints_of(folder)}
    if not named:
        fix = "Copy or download it again."
        return [blocking("checkpoint_broken", f"Pipeline {folder} names no model.", fix, str(folder))]
    for checkpoint, names in named.items():
        if not names:
            return [_no_weights(checkpoint, is_index_broken=names is None)]
    return _files(folder, [part / name for part, names in named.items() for name in names or ()])


def _files(folder: Path, files: list[Path]) -> list[Finding]:
    if absent := [str(file.relative_to(folder)) for file in files if not file.is_file()]:
        return [_incomplete(folder, absent)]
    corrupt = {str(file.relative_to(folder)): safetensors_files.corruption_of(file) for file in files}
    if broken := {name: reason for name, reason in corrupt.items() if reason}:
        damaged = listed([f"{name} {reason}" for name, reason in broken.items()])
        message = f"Weights of {folder} are damaged: {damaged}."
        return [blocking("checkpoint_broken", message, "Copy or download it again.", str(folder), files=broken)]
    return []


def _no_weights(checkpoint: Path, *, is_index_broken: bool) -> Finding:
    if is_index_broken:
        message = f"The index of {checkpoint} names no weight files."
        return blocking("checkpoint_broken", message, "Copy the checkpoint again.", str(checkpoint))
    message = f"Checkpoint {checkpoint} holds no *.safetensors weights."
    return blocking("checkpoint_incomplete", message, "Copy or download it again.", str(checkpoint), files=[])


def _incomplete(folder: Path, absent: list[str]) -> Finding:
    message = f"Checkpoint {folder} lacks {listed(absent)}."
    return blocking("checkpoint_incomplete", message, "Copy or download it again.", str(folder), files=absent)


def _adapter(workload: Workload) -> list[Finding]:
    folder = Path(workload.model)
    if workload.model.startswith(model_uri.HUB):
        return _cached_when_offline(workload.model)
    if "://" in workload.model:
        return [_remote(workload.model)]
    if not folder.is_dir():
        fix = "Give the folder of an adapter, or have the folder read as a whole model."
        return [_missing(f"Adapter {folder} does not exist.", fix, str(folder))]
    config = read_json_file(folder / CONFIG_FILE)
    if not isinstance(config, dict):
        message = f"{folder} holds no readable {CONFIG_FILE}: it is not an adapter."
        fix = "Give an adapter folder, or have the folder read as a whole model."
        return [blocking("adapter_incomplete", message, fix, str(folder))]
    return adapter_base.check(workload.model, workload.base_model or "")


def _cached_when_offline(uri: str) -> list[Finding]:
    if not settings.hub_is_offline() or model_folders.is_model_folder(model_uri.local_folder(uri)):
        return []
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = uri.removeprefix(model_uri.HUB).partition("@")
    for marker in model_folders.MARKERS:
        if isinstance(try_to_load_from_cache(repository, marker, revision=revision or None), str):
            return []
    message = f"Hub access is disabled (HF_HUB_OFFLINE) and {uri} is not in the local cache."
    return [_missing(message, f"Unset HF_HUB_OFFLINE, or run: hf download {repository}", uri)]


def _remote(uri: str) -> Finding:
    fix = f"To have it checked first: tao-skills data stage {uri} FOLDER, then name the folder."
    return not_checked("checkpoint_remote", f"Checkpoint {uri} is not on this machine.", fix, uri)


def _missing(message: str, fix: str, path: str) -> Finding:
    return blocking("checkpoint_missing", message, fix, path)
