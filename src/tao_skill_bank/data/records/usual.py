"""A quick look at records of the usual shape; whatever it passes, the reader passes, and others go to the reader."""

import re
from collections import Counter
from typing import Any

from tao_skill_bank.core.limits import is_too_deep
from tao_skill_bank.data.records.rates import FASTEST, SLOWEST
from tao_skill_bank.data.records.values import RecordRules

UNUSUAL = -1
IMAGE_MARKER, VIDEO_MARKER = "<image>", "<video>"
MANY = 2  # markers: more than a usual record has
MAX_SHAPES = 1000
MAX_NAME = 120  # characters of a name that is short enough in any file system
ENDINGS = (".mp4", ".MP4", ".mkv", ".webm", ".avi", ".mov")
# Keys that change how a record is read; with one of them it is not usual.
RARER_KEYS = frozenset(
    {"videos", "image", "images", "messages", "system", "video_start", "video_end", "start", "end"}
)  # fmt: skip
USER, ASSISTANT = frozenset({"human", "user"}), frozenset({"gpt", "assistant"})


class UsualRecords:
    """Looks at records with an id, one video, its rate and turns of from and value: one or two microseconds each.

    Attributes:
        shapes: how many usual records have keys that nobody reads, by all their keys in order.

    """

    def __init__(self, rules: RecordRules) -> None:
        self.shapes: Counter[tuple[str, ...]] = Counter()
        self._key = rules.conversations_key
        self._needs_answer = rules.needs_answer
        self._required = tuple(name for name in rules.required_fields if name != "video_fps")
        self._rate_required = "video_fps" in rules.required_fields
        self._read = {"id", "video", "video_fps", self._key, *rules.required_fields}
        self._plain: set[tuple[str, ...]] = set()
        self._marks = re.compile("|".join(map(re.escape, (IMAGE_MARKER, *rules.reserved_tokens))))
        # What every mark and marker contains: a text without it has none of them.
        self._sign = "<" if all("<" in token for token in rules.reserved_tokens) else ""

    def length(self, record: Any) -> int:
        """Return the characters of text of a faultless usual record, else UNUSUAL."""
        try:
            shape = tuple(record)
            is_plain = shape in self._plain
            if not (
                (is_plain or self._is_usual(shape, record))
                and _is_usual_name(record["video"])
                and _is_usual_id(record["id"])
                and self._is_usual_rate(record.get("video_fps"))
            ):
                return UNUSUAL
            length = self._text(record[self._key])
        except (KeyError, TypeError, AttributeError):
            return UNUSUAL
        if not is_plain and length != UNUSUAL and not self._read.issuperset(shape):
            self.shapes[shape] += 1
        return length

    def _is_usual(self, shape: tuple[str, ...], record: Any) -> bool:
        """Return whether a record with these keys is usual; remember keys that are all read, and need no other look."""
        if not RARER_KEYS.isdisjoint(shape) or any(record[name] is None for name in self._required):
            return False
        if self._read.issuperset(shape):
            if not self._required and len(self._plain) < MAX_SHAPES:
                self._plain.add(shape)
            return True
        return (shape in self.shapes or len(self.shapes) < MAX_SHAPES) and not is_too_deep(record)

    def _is_usual_rate(self, rate: Any) -> bool:
        if type(rate) is float or type(rate) is int:
            return SLOWEST <= rate <= FASTEST
        return rate is None and not self._rate_required

    def _text(self, turns: Any) -> int:
        length = num_markers = 0
        follows_user = has_answer = False
        sign = self._sign
        for turn in turns:
            role, text = turn["from"], turn["value"]
            if len(turn) != 2 or (not text.isascii() and not _is_unicode(text)) or "\0" in text:
                return UNUSUAL
            if sign in text:
                if self._marks.search(text):
                    return UNUSUAL
                num_markers += text.count(VIDEO_MARKER) if role in USER else MANY * (VIDEO_MARKER in text)
            if role in USER:
                follows_user = True
            elif follows_user and role in ASSISTANT and text and not text.isspace():
                follows_user, has_answer = False, True
            else:
                return UNUSUAL
            length += len(text)
        is_whole = type(turns) is list and turns and num_markers <= 1 and (has_answer or not self._needs_answer)
        return length if is_whole else UNUSUAL


def _is_usual_name(name: str) -> bool:
    return (
        name.endswith(ENDINGS)
        and name.isascii()
        and len(name) < MAX_NAME
        and ":" not in name
        and "\\" not in name
        and "\0" not in name
    )


def _is_usual_id(identity: Any) -> bool:
    if type(identity) is str:
        return identity.isascii() and "\0" not in identity
    return type(identity) is int


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
