"""Checks that an adapter is whole and belongs to the base model it is put on. Nothing is loaded."""

from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import blocking, from_error, info, not_checked, warning
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.weights import adapter_files, model_uri, safetensors_files
from tao_skill_bank.weights.adapter_files import CONFIG_FILE


def check(path: str, base: str) -> list[Finding]:
    """Return the findings of an adapter folder or file that is put on the model `base`."""
    if "://" in path:
        fix = "Download it and name its folder."
        return [not_checked("adapter_remote", f"Adapter {path} is not on this machine.", fix, path)]
    try:
        adapter_files.read(Path(path))
        return check_base(Path(path), base)
    except TaoSkillsError as error:  # also where it names a base that no path can be
        return from_error(error)


def check_base(path: Path, named: str) -> list[Finding]:
    """Compare the base of an adapter with the named one: by its weights where both are known, else by name."""
    trained_on = adapter_files.identity(path)
    config = adapter_files.read_json(path / CONFIG_FILE)
    made_for = trained_on.get("path") or (config.get("base_model_name_or_path") if isinstance(config, dict) else None)
    if not isinstance(made_for, str) or not made_for or not named:
        return []
    ours = _fingerprint(named, trained_on)
    theirs = trained_on.get("fingerprint")
    evidence = {"made_for": made_for, "named": named, "compared": "weights" if ours else "names"}
    is_same = ours == theirs if ours else _base_name(made_for) == _base_name(named) or _same_folder(made_for, named)
    if is_same:
        return [info("adapter_base", f"The adapter {path} was made for {made_for}.", str(path), **evidence)]
    message = f"The adapter {path} was made for another base: {made_for}, not {named}"
    fix = f"Set the base model to {made_for}, or give an adapter of {named}."
    if ours:
        message = f"{message}: their weights differ."
    elif all(model_uri.is_remote(model_uri.normalise(name)) for name in (made_for, named)):
        message = f"{message}."
    else:
        message = f"{message}, by their names; their weights could not be compared."
        return [warning("adapter_of_another_base", message, fix, str(path), **evidence)]
    return [blocking("adapter_of_another_base", message, fix, str(path), **evidence)]


def _fingerprint(named: str, trained_on: dict[str, Any]) -> str | None:
    """Return the fingerprint of the named base, of the part that the adapter was trained on; None if unknown."""
    if not trained_on.get("fingerprint"):
        return None
    folder = model_uri.local_folder(model_uri.normalise(named))
    return safetensors_files.fingerprint(folder / trained_on.get("part", ""))


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
