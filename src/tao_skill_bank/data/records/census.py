"""What records have that nobody reads, and how their turns are written, over a whole file."""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank.data.records.content import COLUMNS, OTHER_KEYS, TURN_KEYS
from tao_skill_bank.data.records.named_media import MEDIA_KEYS, TIME_KEYS
from tao_skill_bank.data.records.values import Record, RecordRules, TurnFormat

MAX_KEYS = 1000  # different ones that are counted
MIN_KEY = 4  # characters below which keys are too short to be taken for a misspelling
SIMILAR = 0.8
POSITION = re.compile(r"\[[0-9]+\]")
OTHER_WORDS = {
    "fps": "video_fps",
    "frame_rate": "video_fps",
    "framerate": "video_fps",
    "system_prompt": "system",
    "video_path": "video",
    "image_path": "image",
    "start_time": "video_start",
    "end_time": "video_end",
}


@dataclass
class UnreadKey:
    """One key that nobody reads.

    Attributes:
        count: the records, or turns of records, that have it.
        first: a record that has it; None where only its number is known.
        meant: the known key that it resembles, or nothing.

    """

    count: int = 0
    first: int | None = None
    meant: str = ""


@dataclass
class Census:
    """Unread keys by their path, the first record of every way to write turns, and of every bare `start` or `end`."""

    unread: dict[str, UnreadKey] = field(default_factory=dict)
    formats: dict[TurnFormat, int] = field(default_factory=dict)
    num_bare_ranges: int = 0
    first_bare_range: int = 0

    def add(self, record: Record, raw: Mapping[str, Any], index: int) -> None:
        """Take in a record that the reader has read."""
        if record.turn_format:
            self.formats.setdefault(record.turn_format, index)
        if record.reads_start:
            self.first_bare_range = self.first_bare_range if self.num_bare_ranges else index
            self.num_bare_ranges += 1
        for path in dict.fromkeys(POSITION.sub("[]", path) for path in record.unread):
            self._count(path, raw, 1, index)

    def add_shapes(self, shapes: Mapping[tuple[str, ...], int], rules: RecordRules) -> None:
        """Take in usual records, by their keys."""
        read = {"id", "video", "video_fps", rules.conversations_key, *rules.required_fields}
        for shape, count in shapes.items():
            for key in shape:
                if key not in read:
                    self._count(key, shape, count, None)

    def _count(self, path: str, present: Collection[str], count: int, index: int | None) -> None:
        known = self.unread.get(path)
        if known is None:
            if len(self.unread) >= MAX_KEYS:
                return
            known = self.unread[path] = UnreadKey(first=index, meant=_meant(path, present))
        known.count += count


def _meant(path: str, present: Collection[str]) -> str:
    """Return the known key that an unread one resembles, if the record lacks it."""
    holder, _, key = path.rpartition(".")
    if holder.endswith("[]") and holder.count("[]") > 1:
        return ""
    known = TURN_KEYS if holder else {name for name, _ in (*MEDIA_KEYS, *COLUMNS)} | {
        *TIME_KEYS, *OTHER_KEYS, "conversations", "system",
    }  # fmt: skip
    candidates = [name for name in known if holder or name not in present]
    word = key.lower().replace("-", "_")
    if not holder and (other := OTHER_WORDS.get(word, word)) in candidates:
        return other
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=SIMILAR)
    return close[0] if close and len(word) >= MIN_KEY else ""
