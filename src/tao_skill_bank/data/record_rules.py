"""What a record must hold. A faultless record of the usual shape is seen quickly, others are looked at closely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.data.annotations import ASSISTANT_ROLES, Media, is_positive_number

KNOWN_ROLES = ASSISTANT_ROLES | {"human", "user", "system"}
RARER_MEDIA_KEYS = frozenset({"videos", "image", "images"})
UNUSUAL = -1


@dataclass(frozen=True)
class RecordRules:
    """The rules of one dataset.

    Attributes:
        conversations_key: where the turns are.
        required_fields: what every record with a video must have.
        needs_answer: whether a conversation without an assistant turn is a fault.

    """

    conversations_key: str
    required_fields: tuple[str, ...]
    needs_answer: bool

    def usual_length(self, record: Any) -> int:
        """Return the characters of text of a faultless record with an id and one video, else UNUSUAL."""
        try:
            identity, video, turns = record["id"], record["video"], record[self.conversations_key]
            if not (
                isinstance(identity, (str, int)) and isinstance(video, str) and RARER_MEDIA_KEYS.isdisjoint(record)
            ):
                return UNUSUAL
            for name in self.required_fields:
                value = record[name]
                if value is None or (name == "video_fps" and not is_positive_number(value)):
                    return UNUSUAL
            length = self._usual_text(turns)
        except (KeyError, TypeError, AttributeError):
            return UNUSUAL
        return length if video and "://" not in video else UNUSUAL

    def look_closely(self, record: Mapping[str, Any], media: Sequence[Media]) -> tuple[list[str], int]:
        """Return the names of everything that the trainer would refuse in a record, and its characters of text."""
        num_videos = sum(kind == "video" for kind, _ in media)
        found = self._faults_of_fields(record) if num_videos else []
        turns = record.get(self.conversations_key)
        if not isinstance(turns, list) or not turns:
            return [*found, "conversations_missing" if turns is None else "conversations_empty"], 0
        text, has_answer = "", not self.needs_answer
        for turn in turns:
            role, content = _role_and_text(turn)
            if not role:
                return [*found, "turn_invalid"], len(text)
            text += content
            has_answer = has_answer or role in ASSISTANT_ROLES
        if not has_answer:
            found.append("answer_missing")
        counts = {"<video>": num_videos, "<image>": len(media) - num_videos}
        if "<" in text and any(text.count(marker) not in (0, count) for marker, count in counts.items()):
            found.append("markers_disagree")
        return found, len(text)

    def _faults_of_fields(self, record: Mapping[str, Any]) -> list[str]:
        found = []
        for name in self.required_fields:
            value = record.get(name)
            if value is None:
                found.append(f"{name}_missing")
            elif name == "video_fps" and not is_positive_number(value):
                found.append(f"{name}_invalid")
        return found

    def _usual_text(self, turns: Any) -> int:
        length = num_markers = 0
        has_answer = not self.needs_answer
        for turn in turns:
            role, text = turn["from"], turn["value"]
            if role in ASSISTANT_ROLES:
                has_answer = True
            elif role not in KNOWN_ROLES:
                return UNUSUAL
            if not isinstance(text, str) or "<image>" in text:
                return UNUSUAL
            length += len(text)
            num_markers += text.count("<video>")
        return length if has_answer and turns and num_markers <= 1 and isinstance(turns, list) else UNUSUAL


def _role_and_text(turn: Any) -> tuple[str, str]:
    """Return role and text of a turn in any of its spellings; an empty role for what the trainer would refuse."""
    if not isinstance(turn, dict):
        return "", ""
    role = turn.get("from") or turn.get("role")
    content = turn.get("value", turn.get("content"))
    if not isinstance(role, str) or role not in KNOWN_ROLES:
        role = str(role).lower()
    if role not in KNOWN_ROLES or content is None:
        return "", ""
    if isinstance(content, list):
        return role, "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return role, str(content)
