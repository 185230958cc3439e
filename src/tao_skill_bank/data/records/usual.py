"""A quick look at records of the usual shape; whatever it passes, the reader passes, and others go to the reader."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tao_skill_bank.data.records.rates import FASTEST, SLOWEST
from tao_skill_bank.data.records.values import RecordRules

UNUSUAL = -1
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
        self._token_start = _common_start(rules.reserved_tokens)
        self._tokens = re.compile("|".join(map(re.escape, rules.reserved_tokens))) if rules.reserved_tokens else None

    def length(self, record: Any) -> int:
        """Return the characters of text of a faultless usual record, else UNUSUAL."""
        try:
            shape = tuple(record)
            name, identity = record["video"], record["id"]
            if not (
                (shape in self._plain or self._is_usual(shape))
                and name.isascii()
                and name.endswith(ENDINGS)
                and len(name) < MAX_NAME
                and ":" not in name
                and "\\" not in name
                and "\0" not in name
                and (identity.isascii() and "\0" not in identity if type(identity) is str else type(identity) is int)
                and self._has_fields(record)
            ):
                return UNUSUAL
            length = self._text(record[self._key])
        except (KeyError, TypeError, AttributeError):
            return UNUSUAL
        if length != UNUSUAL and shape not in self._plain:
            self.shapes[shape] += 1
        return length

    def _is_usual(self, shape: tuple[str, ...]) -> bool:
        """Return whether records with these keys are usual; remember those without unread keys."""
        if not RARER_KEYS.isdisjoint(shape):
            return False
        if self._read.issuperset(shape) and len(self._plain) < MAX_SHAPES:
            self._plain.add(shape)
            return True
        return shape in self.shapes or len(self.shapes) < MAX_SHAPES

    def _has_fields(self, record: Any) -> bool:
        rate = record.get("video_fps")
        if type(rate) is float or type(rate) is int:
            if not SLOWEST <= rate <= FASTEST:
                return False
        elif rate is not None or self._rate_required:
            return False
        return all(record[name] is not None for name in self._required)

    def _text(self, turns: Any) -> int:
        if type(turns) is not list:
            return UNUSUAL
        length = num_markers = 0
        follows_user = has_answer = False
        for turn in turns:
            role, text = turn["from"], turn["value"]
            if type(text) is not str or len(turn) != 2 or not (text.isascii() or _is_unicode(text)) or "\0" in text:
                return UNUSUAL
            if role in USER:
                follows_user = True
                if "<" in text:
                    if "<image>" in text or self._has_token(text):
                        return UNUSUAL
                    num_markers += text.count("<video>")
            elif role in ASSISTANT and follows_user and text and not text.isspace():
                follows_user, has_answer = False, True
                if "<video>" in text or "<image>" in text or self._has_token(text):
                    return UNUSUAL
            else:
                return UNUSUAL
            length += len(text)
        return length if turns and num_markers <= 1 and (has_answer or not self._needs_answer) else UNUSUAL

    def _has_token(self, text: str) -> bool:
        return self._tokens is not None and self._token_start in text and self._tokens.search(text) is not None


def _common_start(tokens: Sequence[str]) -> str:
    """Return what all tokens start with, which is quicker to look for."""
    first, last = min(tokens, default=""), max(tokens, default="")
    return first[: next((i for i, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
