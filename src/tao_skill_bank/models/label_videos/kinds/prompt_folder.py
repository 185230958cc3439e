"""A folder of prompt files that replace packaged ones."""

from pathlib import Path

from tao_skill_bank.contracts import Input, contract
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import from_error, not_checked
from tao_skill_bank.data.kinds import Context, Found, Kind, Place, findings_of
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.label_videos import prompt_files


@contract
class Options:
    """There are none."""


def look(given: Input, context: Context) -> Found:  # noqa: ARG001 - one signature
    """Read the prompt files and check their placeholders."""
    path = given.paths["path"]
    if locations.is_uri(path):
        message = f"The prompts {path} are not on this machine."
        return Found(given, not_checked("prompts_remote", message, "Copy them here to have them checked.", path))
    try:
        prompt_files.load(prompt_files.GENERAL, Path(path))
    except BlockedError as error:
        first, *others = from_error(error)
        return Found(given, first, others)
    return Found(given)


KIND = Kind(title="prompts", options=Options, paths={"path": Place("folder")}, look=look, check=findings_of)
