"""Folders of clips that need no captions: *.mp4 in the folder itself or in videos/ below it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from tao_skill_bank.contracts import Finding, Input, contract
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import blocking, info, not_checked
from tao_skill_bank.data import clip_outcomes, folder_tree, media_suffixes, unread_files
from tao_skill_bank.data.captions.files import VIDEOS
from tao_skill_bank.data.clip_issues import ISSUE_TYPES
from tao_skill_bank.data.clip_outcomes import ClipOutcomes
from tao_skill_bank.data.issues import Issue, as_findings
from tao_skill_bank.data.kinds import Context, Kind, Place
from tao_skill_bank.data.sampled_media import Probed

NOT_PROBED = ClipOutcomes("")
LEFT_OUT = ("clips_in_other_folders", "clips_of_other_formats")
FIX = "Give a folder with mp4 files, or with videos/ below it."


@contract
class Options:
    """There are none."""


@dataclass(frozen=True)
class SeenClips:
    """The clips of a folder and what is known of them."""

    input: Input
    failure: Finding | None = None
    videos: Sequence[Path] = ()
    clips: ClipOutcomes = NOT_PROBED
    left_out: Sequence[Issue] = ()
    num_media: int = 0
    noun: str = "clips"
    records: Sequence[Probed] = ()

    @property
    def num_usable(self) -> int:
        return len(self.videos)


def look(given: Input, context: Context) -> SeenClips:
    """List the clips, read their headers, and decode as many as are sampled."""
    path = given.paths["path"]
    if locations.is_uri(path):
        return SeenClips(given, not_checked("clips_remote", f"Clips {path} are not on this machine.", FIX, path))
    folder = Path(path)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        return SeenClips(given, blocking("clips_missing", f"Folder of clips {path} {what}.", FIX, path))
    videos = [file for place in (folder, folder / VIDEOS) for file in media_suffixes.clips_in(place)]
    if not videos:
        return SeenClips(given, blocking("clips_missing", f"{path} holds no mp4 files.", FIX, path))
    how = (context.pool, context.decode_seconds, context.header_budget, context.num_samples)
    outcomes = clip_outcomes.probe(path, videos, *how)
    return SeenClips(given, videos=videos, clips=outcomes, left_out=_left_out(folder, videos))


def _left_out(folder: Path, videos: Sequence[Path]) -> list[Issue]:
    """Return the clips that are not read: of other formats, and in other folders."""
    tree = folder_tree.walk(folder, lambda path: path == PurePosixPath(VIDEOS))
    read = [PurePosixPath(video.relative_to(folder)) for video in videos]
    return [issue for issue in unread_files.find(tree.files, read, read, ()) if issue.code in LEFT_OUT]


def check(seen: Sequence[SeenClips], _: Context) -> list[Finding]:
    """Return the findings of every folder. A broken clip is a warning: perhaps the action does not read it."""
    found = []
    for each in seen:
        if each.failure:
            found.append(each.failure)
            continue
        broken = [*each.clips.unreadable(), *each.clips.truncated()]
        found += [replace(finding, severity="warning") for finding in broken]
        found += each.clips.left
        found += as_findings(each.left_out, ISSUE_TYPES, Path(each.input.paths["path"]))
        path, count = each.input.paths["path"], len(each.videos)
        found.append(info("clips", f"{path} holds {count} {each.input.role} clips.", path, clips=count))
    return found


KIND = Kind(
    title="clips",
    options=Options,
    paths={"path": Place("folder")},
    look=look,
    check=check,
    media_folders=("path",),
)
