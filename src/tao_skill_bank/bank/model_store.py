"""Finds the skill that owns a model and materialises the model's checkpoint on this machine."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.bank import catalog
from tao_skill_bank.core import lifeline, settings
from tao_skill_bank.errors import BlockedError, UnknownNameError
from tao_skill_bank.weights import model_uri
from tao_skill_bank.weights.model_folders import is_model_folder


@dataclass(frozen=True)
class Owner:
    """The skill that owns a model, the model's URI and the folder it is or will be in."""

    name: str
    uri: str
    folder: Path


def owner(name: str) -> Owner:
    """Return the skill that owns a model.

    Raises:
        UnknownNameError: no skill owns it.
    """
    bare = name.removeprefix(model_uri.HUB).partition("@")[0]
    builtin = name.removeprefix(model_uri.BUILTIN)
    for skill in catalog.skills():
        if not skill.runs_actions:
            continue
        if bare in skill.info.huggingface_model_ids:
            uri = model_uri.HUB + name.removeprefix(model_uri.HUB)
            return Owner(skill.name, uri, model_uri.local_folder(uri))
        if builtin and is_model_folder(model_uri.MODELS / skill.info.package / "builtin" / builtin):
            uri = model_uri.BUILTIN + builtin
            return Owner(skill.name, uri, model_uri.local_folder(uri))
    known = [model for skill in catalog.skills() if skill.runs_actions for model in skill.info.huggingface_model_ids]
    names = ", ".join([*known, *(model_uri.BUILTIN + builtin for builtin in model_uri.builtin_names())])
    message = f"UNMATCHED: no packaged TAO model skill owns '{name}'"
    raise UnknownNameError.of("unknown_model", message, f"Known models: {names}.", path="model", got=name)


def materialise(uri: str) -> Path:
    """Create or download the checkpoint of a URI and return its folder. The training plane does the work.

    Raises:
        UnknownNameError: there is no such embedded model, or the URI has no scheme.
        BlockedError: it cannot be created or downloaded, for the reason reported by the child process.
    """
    if uri.startswith(model_uri.BUILTIN) and uri.removeprefix(model_uri.BUILTIN) not in model_uri.builtin_names():
        owner(uri)
    if not model_uri.is_remote(uri):
        fix = f"Use {model_uri.BUILTIN}NAME or {model_uri.HUB}ORG/NAME."
        raise UnknownNameError.of("unknown_model", f"'{uri}' is not a model URI.", fix, path="uri", got=uri)
    folder = model_uri.local_folder(uri)
    argv = [sys.executable, "-P", "-m", "tao_skill_bank.training.fetch", uri, str(folder)]
    environment = settings.child_environment(**lifeline.for_children())  # it ends with this process
    finished = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    if finished.returncode != 0:
        reason = finished.stderr.strip().splitlines()[-2:] or [f"exit code {finished.returncode}"]
        message = f"{uri} cannot be materialised: {' '.join(line.strip() for line in reason)}"
        raise BlockedError.of("model_not_materialised", message, "Fix the cause and run it again.", path=uri)
    return folder
