"""Annotation records to chat messages: LLaVA or role/content turns, with media at their markers."""

import re
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.data.annotations import Media, media_of
from tao_skill_bank.errors import BlockedError

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
MARKER = re.compile(r"\s*<(video|image)>\s*")
Message = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    """Chat messages in the chat template's format and their media, in order of appearance.

    Attributes:
        record_id: the record's `id`, else its video or its position.
        messages: {"role", "content": [{"type": "text", "text"} | {"type": "video"} | {"type": "image"}]}.
        media: one entry per media part of the messages.
        video_fps: the record's frame rate; None when it has none.

    """

    record_id: str
    messages: tuple[Message, ...]
    media: tuple[Media, ...]
    video_fps: float | None = None


def record_name(record: dict[str, Any], index: int) -> str:
    """Return the name of a record in errors: its id, else its position."""
    return str(record["id"]) if record.get("id") is not None else f"#{index}"


def parse(record: dict[str, Any], index: int, *, key: str = "conversations", system_prompt: str = "") -> Conversation:
    """Return the conversation of a record. A system prompt in the record overrides the spec's.

    Raises:
        BlockedError: no turns, an unknown role, or markers that do not match the media.

    """
    name = record_name(record, index)
    turns = record.get(key)
    if not isinstance(turns, list) or not turns:
        raise _bad(name, f"has no turns under '{key}'", f"Give a list of turns under '{key}'.")
    messages = [_message(turn, name) for turn in turns]
    if system_prompt and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system_prompt}]})
    media = media_of(record)
    messages = _show_unmarked(messages, media, name)
    return Conversation(name, tuple(messages), _in_order(messages, media, name), _frame_rate(record, name))


def text_of(message: Message) -> str:
    """Return a message's text without its media."""
    return "\n".join(part["text"] for part in message["content"] if part["type"] == "text")


def question_and_answer(conversation: Conversation) -> tuple[Conversation, str, str]:
    """Split off the last assistant turn.

    Returns:
        The conversation up to the question, the question's text and the answer's text.

    Raises:
        BlockedError: the conversation has no user turn followed by an assistant turn.

    """
    messages = conversation.messages
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers or answers[-1] == 0 or messages[answers[-1] - 1]["role"] != "user":
        raise _bad(conversation.record_id, "has no question with an answer", "End it with a user and a gpt turn.")
    asked = messages[: answers[-1]]
    shown = sum(part["type"] != "text" for message in asked for part in message["content"])
    prompt = Conversation(conversation.record_id, asked, conversation.media[:shown], conversation.video_fps)
    return prompt, text_of(asked[-1]), text_of(messages[answers[-1]])


def _message(turn: Any, name: str) -> Message:
    if not isinstance(turn, dict):
        raise _bad(name, "has a turn that is not an object", "Write turns as {from, value} or {role, content}.")
    role = ROLES.get(str(turn.get("from", turn.get("role"))).lower())
    value = turn.get("value", turn.get("content"))
    if role is None or value is None:
        raise _bad(name, f"has a turn without a known role or text: {sorted(turn)}", "Use human and gpt turns.")
    parts = value if isinstance(value, list) else [{"type": "text", "text": str(value)}]
    return {"role": role, "content": [split for part in parts for split in _parts(part, role, name)]}


def _parts(part: Any, role: str, name: str) -> list[dict[str, str]]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("video", "image"):
        return [{"type": kind}]
    if kind != "text":
        raise _bad(name, f"has a content part of unknown type {kind!r}", "Use text, video and image parts.")
    text = str(part["text"])
    if role != "user":
        return [{"type": "text", "text": text}]
    pieces = MARKER.split(text)  # text, kind, text, kind, ..., text
    found = [
        {"type": piece} if position % 2 else {"type": "text", "text": piece} for position, piece in enumerate(pieces)
    ]
    return [entry for entry in found if entry["type"] != "text" or entry["text"]]


def _show_unmarked(messages: list[Message], media: tuple[Media, ...], name: str) -> list[Message]:
    """Put media without markers before the text of the first user turn."""
    marked = {part["type"] for message in messages for part in message["content"]}
    first = [{"type": item.kind} for item in media if item.kind not in marked]
    if not first:
        return messages
    for index, message in enumerate(messages):
        if message["role"] == "user":
            shown = {**message, "content": [*first, *message["content"]]}
            return [*messages[:index], shown, *messages[index + 1 :]]
    raise _bad(name, "has media but no user turn", "Give it a human turn.")


def _in_order(messages: list[Message], media: tuple[Media, ...], name: str) -> tuple[Media, ...]:
    queues = {kind: [item for item in media if item.kind == kind] for kind in ("video", "image")}
    shown = [part["type"] for message in messages for part in message["content"] if part["type"] != "text"]
    for kind, queue in queues.items():
        if shown.count(kind) != len(queue):
            counts = f"marks {shown.count(kind)} <{kind}> but has {len(queue)} {kind} files"
            raise _bad(name, counts, f"Write one <{kind}> marker per {kind}, or none.")
    return tuple(queues[kind].pop(0) for kind in shown)


def _frame_rate(record: dict[str, Any], name: str) -> float | None:
    value = record.get("video_fps")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise _bad(name, f"has video_fps {value!r}", "Give the frames per second of its video as a number above 0.")
    return float(value)


def _bad(name: str, what: str, fix: str) -> BlockedError:
    return BlockedError.of("bad_record", f"Record {name} {what}.", fix, path=name)
