"""Names the files of a folder of clips that are not read, by what they seem to be."""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from tao_skill_bank.data import media_suffixes
from tao_skill_bank.data.captions.files import CAPTION_FOLDERS, SUFFIXES, CaptionFiles
from tao_skill_bank.data.clip_issues import TABLES
from tao_skill_bank.data.issues import Issue

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
NOT_CAPTIONS = ("readme", "license", "notice")


def find(
    files: Sequence[PurePosixPath],
    videos: Sequence[PurePosixPath],
    used: Collection[PurePosixPath],
    issues: Sequence[Issue],
) -> list[Issue]:
    """Return one issue for every file that is not used and not named in an issue before.

    Args:
        files: all files of the folder.
        videos: the clips that are read.
        used: files that are read, the clips among them.
        issues: what was found so far.

    """
    named = {issue.item for issue in issues}
    unread = [file for file in files if file not in used and str(file) not in named]
    not_needed: set[PurePosixPath] = set()
    if any(file.suffix.lower() in SUFFIXES for file in unread):
        captions = CaptionFiles(files, videos)
        not_needed = {file for video in videos for file in captions.match(video).exact}
    places = {video.parent for video in videos}
    return [
        Issue(_code(file, is_needless=file in not_needed, is_next_to_clips=file.parent in places), str(file))
        for file in unread
    ]


def _code(file: PurePosixPath, *, is_needless: bool, is_next_to_clips: bool) -> str:
    suffix = file.suffix.lower()
    if media_suffixes.is_clip(file):
        return "clips_in_other_folders"
    if media_suffixes.is_other_clip(file):
        return "clips_of_other_formats"
    if is_needless or file.name in TABLES:
        return "captions_not_needed"
    if suffix in TABLE_SUFFIXES:
        return "tables_not_read"
    is_caption = suffix in SUFFIXES and file.stem.lower() not in NOT_CAPTIONS
    if is_caption and (is_next_to_clips or file.parent.name in CAPTION_FOLDERS):
        return "captions_without_clip"
    return "files_not_read"
