"""What is embedded: a row per distinct clip, or per prompt of a record. No torch here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tao_skill_bank.data.records import reader
from tao_skill_bank.data.records.values import Media, RecordRules
from tao_skill_bank.data.records.values import Record as ReadRecord
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import conversation, turns
from tao_skill_bank.models.cosmos_reason.config import EmbedConfig
from tao_skill_bank.models.cosmos_reason.conversation import Conversation, Message
from tao_skill_bank.models.cosmos_reason.reserved_tokens import RESERVED_TOKENS
from tao_skill_bank.training.bad_samples import Skip

RULES = RecordRules(reserved_tokens=RESERVED_TOKENS, needs_turns=False)


@dataclass(frozen=True)
class Row:
    """One embedding to compute.

    Attributes:
        index: position of the first record that it is of.
        name: of that record in messages.
        file: name of the clip that the row stands for; None for a text without one.
        media: what the model is shown; none where only the question is.
        prompt: of a joint embedding.
        question: of the record; None for a clip alone.
        record_id: of the record; None for a clip alone.

    """

    index: int
    name: str
    file: str | None
    media: tuple[Media, ...]
    prompt: Conversation | None = None
    question: str | None = None
    record_id: str | None = None

    @property
    def modality(self) -> Literal["vision", "joint", "text"]:
        if self.prompt is None:
            return "vision"
        return "joint" if self.media else "text"


def of_records(config: EmbedConfig, records: Sequence[Any]) -> tuple[list[Row], list[Skip]]:
    """Return the rows in the order of the records, and the records that cannot be read where the spec skips them.

    Raises:
        BlockedError: a record cannot be read, or nothing is left to embed.

    """
    rows: list[Row] = []
    skips: list[Skip] = []
    for index, raw in enumerate(records):
        try:
            rows += _of_record(config, reader.read(raw, index, RULES), index)
        except BlockedError as error:
            if config.embedding.on_bad_sample != "skip":
                raise
            problem = error.problems[0]
            skips.append(Skip(index, problem.code, problem.message, problem.path))
    if not rows and not skips:
        shown = "question" if config.embedding.content == "question" else "clip or picture"
        message = f"No record of {config.dataset.annotation_path} has a {shown} to embed."
        fix = "Give records with one, or set embedding.kind=joint with another embedding.content."
        raise BlockedError.of("nothing_to_embed", message, fix, path=config.dataset.annotation_path)
    return (_distinct(rows) if _is_of_clips(config) else rows), skips


def _is_of_clips(config: EmbedConfig) -> bool:
    return config.embedding.kind == "vision" or config.embedding.content == "clip"


def _of_record(config: EmbedConfig, record: ReadRecord, index: int) -> Iterator[Row]:
    name, how = record.name(index), config.embedding
    if _is_of_clips(config):
        for item in record.media:
            prompt = _of_clips(name, (item,), config.dataset.system_prompt) if how.kind == "joint" else None
            yield Row(index, name, item.files[0], (item,), prompt, record_id=record.id)
        return
    file = record.media[0].files[0] if record.media else None
    for prompt, question in _prompts(config, record, index):
        shown = _without_media(prompt) if how.content == "question" else prompt
        if shown.messages and (question or shown.media):
            yield Row(index, name, file, shown.media, shown, question or None, record.id)


def _prompts(config: EmbedConfig, record: ReadRecord, index: int) -> list[tuple[Conversation, str]]:
    """Return the prompts of a record with their questions; of one without any, the prompt of its media alone."""
    shown = conversation.shown(record, index, config.dataset.system_prompt)
    roles = [message["role"] for message in shown.messages]
    if "assistant" in roles:
        return [(one.prompt, one.text) for one in turns.asked(shown, every=config.embedding.turns == "all")]
    if "user" in roles:
        return [(shown, conversation.text_of(shown.messages[len(roles) - 1 - roles[::-1].index("user")]))]
    if not record.media:
        return []
    return [(_of_clips(shown.record_id, record.media, config.dataset.system_prompt), "")]


def _of_clips(name: str, media: tuple[Media, ...], system_prompt: str) -> Conversation:
    system = [_message("system", [{"type": "text", "text": system_prompt}])] if system_prompt else []
    return Conversation(name, (*system, _message("user", [{"type": item.kind} for item in media])), media)


def _message(role: str, content: list[dict[str, str]]) -> Message:
    return {"role": role, "content": content}


def _without_media(prompt: Conversation) -> Conversation:
    texts = (
        _message(message["role"], [part for part in message["content"] if part["type"] == "text"])
        for message in prompt.messages
    )
    return replace(prompt, messages=tuple(message for message in texts if message["content"]), media=())


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """Return one row per clip. It has a record only where other rows are of other times of the same file."""
    first: dict[Media, Row] = {}
    for row in rows:
        first.setdefault(row.media[0], row)
    count: dict[str | None, int] = {}
    for row in first.values():
        count[row.file] = count.get(row.file, 0) + 1
    return [row if count[row.file] > 1 else replace(row, record_id=None) for row in first.values()]
