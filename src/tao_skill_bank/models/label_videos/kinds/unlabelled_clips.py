"""Clips that are to be labelled: of a folder, of a list, or those that annotations name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tao_skill_bank.contracts import Finding, Input, Severity, contract
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import from_error, info, listed, not_checked, warning
from tao_skill_bank.data import clip_outcomes
from tao_skill_bank.data.clip_outcomes import ClipOutcomes
from tao_skill_bank.data.kinds import Context, Kind, Place
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.label_videos import clip_pool
from tao_skill_bank.models.label_videos.clip_pool import FIX, ClipPool

NOT_PROBED = ClipOutcomes("")


@contract
class Options:
    """There are none."""


@dataclass(frozen=True)
class SeenPool:
    """The clips of a pool and what is known of them."""

    input: Input
    failure: Finding | None = None
    pool: ClipPool | None = None
    num_present: int = 0
    outcomes: ClipOutcomes = NOT_PROBED
    noun: str = "clips"
    num_media: int = 0
    records: Sequence[Probed] = ()

    @property
    def num_usable(self) -> int:
        return self.num_present


def look(given: Input, context: Context) -> SeenPool:
    """List the clips, read their headers, and decode as many as are sampled."""
    path = given.paths["path"]
    if locations.is_uri(path):
        return SeenPool(given, not_checked("clips_remote", f"Clips {path} are not on this machine.", FIX, path))
    try:
        pool = clip_pool.read(Path(path), Path(given.paths["media_path"]))
    except BlockedError as error:
        return SeenPool(given, from_error(error)[0])
    videos = [clip.path for clip in pool.present]
    how = (context.pool, context.decode_seconds, context.header_budget, context.num_samples)
    return SeenPool(given, None, pool, len(videos), clip_outcomes.probe(str(pool.media), videos, *how))


def check(seen: Sequence[SeenPool], _: Context) -> list[Finding]:
    """Return the findings of every pool; a broken clip is a warning: it is left out and listed."""
    found = []
    for each in seen:
        if each.failure:
            found.append(each.failure)
        if each.pool is not None:
            found += _of_pool(each, each.pool)
    return found


def _of_pool(seen: SeenPool, pool: ClipPool) -> list[Finding]:
    path = seen.input.paths["path"]
    missing = [clip.name for clip in pool.clips if not clip.path.is_file()]
    if missing:
        message = f"{len(missing)} of {len(pool.clips)} clips of {path} are not in {pool.media}: {listed(missing)}."
        fix = "Correct their names, or the folder that they are relative to."
        severity: Severity = "warning" if seen.num_present else "blocking"
        return [Finding("clips_missing", severity, message, fix, path, {"count": len(missing)})]
    broken = [*seen.outcomes.unreadable(), *seen.outcomes.truncated()]
    found = [replace(finding, severity="warning") for finding in broken]
    if pool.num_skipped:
        message = f"{pool.num_skipped} entries of {path} name no mp4 file: they are not labelled."
        found.append(warning("entries_skipped", message, "Convert other formats to mp4.", path))
    return [*found, *seen.outcomes.left, info("clips", f"{path} names {seen.num_present} clips.", path)]


KIND = Kind(
    title="clips",
    options=Options,
    paths={"path": Place("any"), "media_path": Place("folder", named_in="path")},
    look=look,
    check=check,
    media_folders=("media_path",),
)
