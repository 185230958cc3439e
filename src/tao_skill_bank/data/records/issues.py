"""How every issue of a record is reported: what records have, and the exact fix."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tao_skill_bank.core.limits import MAX_DEPTH
from tao_skill_bank.data.records.values import RecordIssue, RecordRules
from tao_skill_bank.errors import BlockedError, Problem

MAX_SHOWN = 80


@dataclass(frozen=True)
class RecordIssueType:
    """What records with this issue have, and the fix; `{key}` stands for the conversations key."""

    what: str
    fix: str


ISSUE_TYPES = {
    "record_not_object": RecordIssueType(
        "something else than a JSON object", "Write every record as {id, video, video_fps, conversations}."
    ),
    "record_too_deep": RecordIssueType(
        f"lists or objects nested more than {MAX_DEPTH} levels deep", "Flatten the record, or drop the deep keys."
    ),
    "conversations_missing": RecordIssueType(
        "no '{key}'", "Add '{key}': [{from: human, value}, {from: gpt, value}], or name the right column."
    ),
    "conversations_empty": RecordIssueType(
        "no turn under '{key}'", "Give a list of turns under '{key}', or drop them."
    ),
    "conversations_ambiguous": RecordIssueType(
        "turns under two keys", "Keep one of the two lists of turns, or give the one to read another name in the spec."
    ),
    "turn_invalid": RecordIssueType(
        "a turn without a known role or text", "Write turns as {from: human | gpt, value} or {role, content}."
    ),
    "part_invalid": RecordIssueType(
        "a content part that is not understood",
        "Use {type: text, text}, {type: video, video} and {type: image, image} parts, each with one value.",
    ),
    "answer_missing": RecordIssueType("no assistant turn", "Add a {from: gpt, value} turn, or drop the records."),
    "answer_empty": RecordIssueType("an empty answer", "Write the answer, or drop the records."),
    "answer_without_question": RecordIssueType(
        "an assistant turn that does not follow a user turn", "Put a human turn before each gpt turn, or merge turns."
    ),
    "answer_with_media": RecordIssueType(
        "a medium or its marker in an answer", "Move <video> and <image> to the human turn that shows the medium."
    ),
    "system_misplaced": RecordIssueType(
        "a system turn that is not the first turn, has media, or differs from 'system'",
        "Give one system prompt: as the first turn or under 'system', without markers.",
    ),
    "user_turn_missing": RecordIssueType("media but no user turn", "Add a human turn that asks about the media."),
    "markers_disagree": RecordIssueType(
        "<video> or <image> markers that do not match the media they name",
        "Write one marker per media file, or none.",
    ),
    "reserved_token": RecordIssueType(
        "a reserved token of the chat template in a text",
        "Remove the token; write <video> or <image> where a medium is shown, and turns as separate entries.",
    ),
    "text_invalid": RecordIssueType(
        "text that is not Unicode (a lone surrogate) or holds a NUL", "Correct the character, or drop the records."
    ),
    "media_address": RecordIssueType(
        "media behind an address instead of files",
        "Download or decode the media into files below the media path, and name these.",
    ),
    "media_kind": RecordIssueType(
        "a medium under the key of the other kind",
        "Name videos under 'video' and images under 'image'; the frames of one clip as a list under 'video' or as an "
        "inner list of 'videos'.",
    ),
    "media_name_invalid": RecordIssueType(
        "a media name that is not a file name", "Name each file as text of at most 255 bytes per part of its path."
    ),
    "media_name_windows": RecordIssueType(
        "a Windows path as a media name", "Name media relative to the media path, with forward slashes."
    ),
    "frames_without_rate": RecordIssueType(
        "a list of frames without a rate",
        "Add video_fps (of the clip that the frames are), or sample_fps (at which they were taken).",
    ),
    "frames_indices_invalid": RecordIssueType(
        "frames_indices that do not fit the list of frames",
        "Give one ascending frame number per frame, and the clip's video_fps; or drop frames_indices.",
    ),
    "sample_fps_invalid": RecordIssueType("an invalid sample_fps", "Give frames per second as a number above 0."),
    "clip_range_invalid": RecordIssueType(
        "an invalid range of time",
        "Give video_start and video_end in seconds, video_end above video_start; leave them out for sampled frames.",
    ),
}


class Issues:
    """Collects what is wrong with one record."""

    def __init__(self) -> None:
        self.found: list[RecordIssue] = []

    def add(self, code: str, place: str = "", detail: str = "") -> None:
        self.found.append(RecordIssue(code, place, detail))


def shown(value: object) -> str:
    """Return a value for a message: its beginning, in characters that can be encoded."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = value if isinstance(value, str) else json.dumps(value)
    text = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def issue_type(code: str, rules: RecordRules) -> RecordIssueType:
    """Return how an issue is reported; those of required fields are made up from the field's name."""
    found = ISSUE_TYPES.get(code)
    if found:
        key = rules.conversations_key or "conversations"
        return RecordIssueType(found.what.replace("{key}", key), found.fix.replace("{key}", key))
    field = code.removesuffix("_missing").removesuffix("_invalid")
    what = f"no {field}" if code.endswith("_missing") else f"an invalid {field}"
    fix = f"Add {field} to the records."
    if field == "video_fps":
        fix = 'Give the frames per second of the video as a number above 0, such as 29.97 or "30000/1001".'
    return RecordIssueType(what, fix)


def as_error(name: str, issues: Sequence[RecordIssue], rules: RecordRules) -> BlockedError:
    """Return the error of one record, with all that is wrong with it."""
    problems = []
    for issue in issues:
        kind = issue_type(issue.code, rules)
        where = f" ({issue})" if str(issue) else ""
        problems.append(Problem(issue.code, f"Record {shown(name)} has {kind.what}{where}.", kind.fix, shown(name)))
    return BlockedError(problems)
