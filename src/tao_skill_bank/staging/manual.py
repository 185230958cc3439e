"""Staging outside of a job: a dataset becomes a folder with its annotation file and the media that it names."""

from pathlib import Path
from typing import Any

from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.staging import inputs, places
from tao_skill_bank.staging.inputs import ProgressCallback, Staged


def stage(uri: str, out: Path, annotations: str | None, report: ProgressCallback) -> dict[str, Any]:
    """Make `out` a link to the data at `uri`; with annotations, a folder with them and a link to the media.

    Raises:
        RequestError: a URI cannot be staged.
        BlockedError, BackendError: see `inputs.stage`.

    """
    for name in (uri, annotations):
        if name is not None and "://" in name:
            _require_known(name)
    if not places.is_remote(uri):
        _require_known(uri)
    if annotations is None:
        return _summary([inputs.stage(uri.rstrip("/"), out, report)])
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        message = f"{out} exists and is not a folder."
        raise BlockedError.of("staging_target_in_use", message, "Name a new folder.", path=str(out))
    staged: list[Staged] = []
    local = Path(annotations).absolute()
    if places.is_remote(annotations):
        local = out / f"annotations{Path(annotations).suffix}"
        staged.append(inputs.stage(annotations, local, report))
    staged.append(inputs.stage(f"{uri.rstrip('/')}{places.NAMED_IN}{local}", out / "media", report))
    return _summary(staged)


def _require_known(uri: str) -> None:
    wrong = places.problem_of(uri) if places.is_remote(uri) else "its scheme is not one of s3, gs, hf"
    if wrong:
        raise RequestError.of("invalid_place", f"{uri} cannot be staged: {wrong}.", "Correct it.", path="uri", got=uri)


def _summary(staged: list[Staged]) -> dict[str, Any]:
    return {
        "files": sum(part.files for part in staged),
        "bytes": sum(part.num_bytes for part in staged),
        "downloaded": sum(part.downloaded for part in staged),
    }
