"""Annotation records as chat messages, with media at their places. No torch here."""

from dataclasses import dataclass, replace
from typing import Any

from tao_skill_bank.data.records import reader
from tao_skill_bank.data.records.values import Media, Part, Record, RecordRules, Turn
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.reserved_tokens import RESERVED_TOKENS

Message = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    """Chat messages in the chat template's format and their media, in order of appearance.

    Attributes:
        record_id: the record's `id`, else its position.
        messages: {"role", "content": [{"type": "text", "text"} | {"type": "video"} | {"type": "image"}]}.
        media: one entry per media part of the messages.

    """

    record_id: str
    messages: tuple[Message, ...]
    media: tuple[Media, ...]


def parse(raw: Any, index: int, *, key: str = "conversations", system_prompt: str = "") -> Conversation:
    """Return the conversation of a record. A system prompt in the record overrides the spec's.

    Args:
        raw: the record as it is in the annotation file.
        index: its position there.
        key: where its turns are.
        system_prompt: that of the spec.

    Raises:
        BlockedError: everything that is wrong with the record.

    """
    return shown(reader.read(raw, index, RecordRules(key, reserved_tokens=RESERVED_TOKENS)), index, system_prompt)


def shown(record: Record, index: int, system_prompt: str = "") -> Conversation:
    """Return the conversation of a record that was read."""
    return Conversation(record.name(index), tuple(map(_message, turns_of(record, system_prompt))), record.media)


def turns_of(record: Record, system_prompt: str) -> tuple[Turn, ...]:
    """Return the turns that are shown: the record's, with the spec's system prompt where it has none of its own."""
    has_own = bool(record.turns) and record.turns[0].role == "system"
    if has_own or not system_prompt:
        return record.turns
    return (Turn("system", (Part("text", system_prompt),)), *record.turns)


def sampling_of(vision: VideoSampling, media: Media) -> VideoSampling:
    """Return the frame sampling of one clip: the range of time of its record overrides the spec's."""
    start = vision.video_start if media.start is None else media.start
    end = vision.video_end if media.end is None else media.end
    return replace(vision, video_start=start, video_end=end)


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
        message = f"Record {conversation.record_id} has no question with an answer."
        fix = "End it with a user and a gpt turn."
        raise BlockedError.of("answer_missing", message, fix, path=conversation.record_id)
    asked = messages[: answers[-1]]
    shown = sum(part["type"] != "text" for message in asked for part in message["content"])
    prompt = Conversation(conversation.record_id, asked, conversation.media[:shown])
    return prompt, text_of(asked[-1]), text_of(messages[answers[-1]])


def _message(turn: Turn) -> Message:
    content = [
        {"type": "text", "text": part.text} if part.kind == "text" else {"type": part.kind} for part in turn.parts
    ]
    return {"role": turn.role, "content": content}
