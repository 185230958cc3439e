"""The run directory of an earlier job, or a folder with the same files."""

from pathlib import Path

from tao_skill_bank.contracts import Input, contract
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import blocking, not_checked
from tao_skill_bank.core.listing import listed
from tao_skill_bank.data.kinds import Context, Found, Kind, Place, findings_of, options_of


@contract
class Options:
    """What the folder must hold: `any_of` are patterns of paths below it, one of which must match a file."""

    any_of: tuple[str, ...] = ()


def look(given: Input, context: Context) -> Found:  # noqa: ARG001 - one signature
    """Look for the files."""
    path, patterns = given.paths["path"], options_of(Options, given).any_of
    fix = "Give the run directory of a job that is complete."
    if locations.is_uri(path):
        message = f"Results {path} are not on this machine."
        return Found(given, not_checked("results_remote_input", message, "Copy them here.", path))
    folder = Path(path)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        return Found(given, blocking("results_missing", f"Folder of results {path} {what}.", fix, path))
    files = (file for pattern in patterns for file in folder.glob(pattern))
    if patterns and not any(file.is_file() for file in files):
        message = f"{path} holds none of {listed(patterns)}."
        return Found(given, blocking("results_empty", message, fix, path))
    return Found(given)


KIND = Kind(
    title="results",
    options=Options,
    paths={"path": Place("folder")},
    look=look,
    check=findings_of,
    media_folders=("path",),
)
