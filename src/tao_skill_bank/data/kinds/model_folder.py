"""A model's folder of which no weights are read, such as a tokenizer."""

from pathlib import Path

from tao_skill_bank.contracts import Input, contract
from tao_skill_bank.core.findings import blocking, not_checked
from tao_skill_bank.data.kinds import Context, Found, Kind, Place, findings_of
from tao_skill_bank.weights import model_uri


@contract
class Options:
    """There are none."""


def look(given: Input, context: Context) -> Found:  # noqa: ARG001 - one signature
    """Look for a folder that is named by its path; others are fetched before the launch."""
    path = given.paths["path"]
    if model_uri.is_remote(path):
        return Found(given)
    if "://" in path:
        message = f"{path} is not on this machine."
        return Found(given, not_checked("checkpoint_remote", message, "Copy it here to have it checked.", path))
    folder = Path(path)
    if folder.is_dir():
        return Found(given)
    what = "is not a folder" if folder.exists() else "does not exist"
    message = f"The folder of the {given.role}, {path}, {what}."
    return Found(given, blocking("checkpoint_missing", message, f"Give a folder, or {model_uri.HUB}ORG/NAME.", path))


KIND = Kind(title="folder", options=Options, paths={"path": Place("folder")}, look=look, check=findings_of)
