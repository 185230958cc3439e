"""Names of models that no checkpoint can have, and the nearest ones that can."""

import difflib

from tao_skill_bank.errors import Problem
from tao_skill_bank.weights import model_uri

HUBS = ("hf", "huggingface", "https")  # schemes that others use for the hub
HUB_HOST = "huggingface.co/"


def problem(path: str, uri: str, package: str) -> Problem | None:
    """Return what is wrong with the URI of a model at a path of a spec of a skill whose models are in `package`."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return None
    if uri.startswith(model_uri.BUILTIN) and rest not in model_uri.builtin_names():
        return _unknown_builtin(path, uri, package)
    if uri.startswith(model_uri.HUB) and not model_uri.HUB_ID.fullmatch(rest):
        message = f"{path}: '{uri}' is not a Hub model id."
        fix = "Write it as hf_model://ORG/NAME or hf_model://ORG/NAME@REVISION."
        return Problem("invalid_hub_id", message, fix, path, uri, "hf_model://ORG/NAME[@REVISION]")
    if f"{scheme}://" in (model_uri.BUILTIN, model_uri.HUB, "s3://", "gs://"):
        return None
    kinds = "hf_model://ORG/NAME, builtin://NAME, s3://BUCKET/PATH, gs://BUCKET/PATH or a local folder"
    name = rest.removeprefix(HUB_HOST)
    meant = {path: f"{model_uri.HUB}{name}"} if scheme in HUBS and model_uri.HUB_ID.fullmatch(name) else {}
    return Problem(
        code="unknown_model_scheme",
        message=f"{path}: '{scheme}://' is not supported for checkpoints.",
        fix=f"Use {kinds}.",
        path=path,
        got=uri,
        expected=kinds,
        fix_set=meant,
    )


def _unknown_builtin(path: str, uri: str, package: str) -> Problem:
    own = [name for name, owner in model_uri.builtin_packages().items() if owner == package]
    rest = uri.removeprefix(model_uri.BUILTIN)
    nearest = difflib.get_close_matches(rest, own, n=1, cutoff=0) if own else []
    known = ", ".join(f"{model_uri.BUILTIN}{name}" for name in model_uri.builtin_names())
    return Problem(
        code="unknown_builtin",
        message=f"{path}: there is no embedded model '{rest}'.",
        fix=f"Use {known}.",
        path=path,
        got=uri,
        expected=f"one of {known}",
        fix_set={path: f"{model_uri.BUILTIN}{nearest[0]}"} if nearest else {},
    )
