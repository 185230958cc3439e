"""Conversations and frames to model inputs: token ids, labels, token types and patches.

The text layout is that of the installed transformers 5 processor: the chat template's
`<|vision_start|><|video_pad|><|vision_end|>` keeps its marks, and between them every temporal patch reads
`<0.5 seconds><|vision_start|>...<|vision_end|>`. (transformers 4.57 dropped the outer pair.) Checkpoints that are
trained here and then served through transformers 5 therefore see the sequences they were trained on.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.core import json_reader
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.conversation import Conversation
from tao_skill_bank.models.cosmos_reason.media import Features, Frames
from tao_skill_bank.models.cosmos_reason.positions import Grid
from tao_skill_bank.models.cosmos_reason.reserved_tokens import (
    PADS,
    RESERVED_TOKENS,
    TURN_END,
    VISION_END,
    VISION_START,
)
from tao_skill_bank.models.cosmos_reason.tokens import Geometry, timestamp_text
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat, patchify

TOKEN_TYPE = {"image": 1, "video": 2}
IGNORED = -100


@dataclass(frozen=True)
class Sample:
    """One sequence, ready to be batched.

    Attributes:
        input_ids, labels, token_types: int64 of shape (length,); labels are -100 for ignored tokens,
            token types 0 for text, 1 for image pads, 2 for video pads.
        kinds, grids: of each media item, in the order of its pads: video or image, and its patches.
        patches: uint8 of shape (patches, 3 * temporal_patch * patch * patch), of all media in that order; None when
            `features` are cached or there are no media.
        features: (vision tokens, levels, hidden), in the same order; None when the vision tower must compute them.

    """

    record_id: str
    input_ids: torch.Tensor
    labels: torch.Tensor
    token_types: torch.Tensor
    kinds: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    patches: torch.Tensor | None = None
    features: torch.Tensor | None = None


class Processor:
    """A checkpoint's tokenizer, chat template and pixel format."""

    def __init__(self, tokenizer: Any, pixel_format: PixelFormat) -> None:
        self.tokenizer = tokenizer
        self.pixel_format = pixel_format
        self.pad_ids = {kind: tokenizer.convert_tokens_to_ids(pad) for kind, pad in PADS.items()}

    @classmethod
    def load(cls, folder: Path, tokenizer_folder: Path | None = None) -> "Processor":
        """Load from a checkpoint folder.

        Raises:
            BlockedError: the folder has no usable tokenizer or no chat template.

        """
        from transformers import AutoTokenizer

        source = tokenizer_folder or folder
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(source), trust_remote_code=False)  # else it asks
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            message = f"{source} has no usable tokenizer: {reason}"
            raise BlockedError.of("no_tokenizer", message, "Give a folder with tokenizer.json.") from None
        if not tokenizer.chat_template:
            tokenizer.chat_template = _separate_template(source)
        return cls(tokenizer, PixelFormat.load(folder))

    def encode(
        self, conversation: Conversation, media: Sequence[Frames | Features], *, max_length: int, answer: bool = False
    ) -> Sample:
        """Return the model inputs of a conversation.

        Args:
            conversation: the messages.
            media: decoded frames, or the features of all of them, one per entry of `conversation.media`.
            max_length: longest sequence in tokens; longer ones are an error, never truncated.
            answer: leave the assistant's next turn open for generation; nothing is labelled.

        Raises:
            BlockedError: the sequence is too long, the text contains a reserved token, or (without `answer`) there
                is no assistant turn to learn from.

        """
        pieces = self._pieces(conversation, answer=answer)
        geometry = self.pixel_format.geometry
        grids = tuple(medium.grid(geometry) for medium in media)
        expansions = iter(zip(grids, media, strict=True))
        input_ids: list[int] = []
        labels: list[int] = []
        for text, is_answer in pieces:
            ids = self.tokenizer(_expand(text, expansions, geometry), add_special_tokens=False)["input_ids"]
            if is_answer:
                self._check_label(conversation, text, ids)
            input_ids.extend(ids)
            labels.extend(ids if is_answer else [IGNORED] * len(ids))
        ids_tensor = torch.tensor(input_ids)
        token_types = torch.zeros_like(ids_tensor)
        for kind, pad in self.pad_ids.items():
            token_types[ids_tensor == pad] = TOKEN_TYPE[kind]
        _check_length(conversation, token_types, max_length)
        kinds = tuple(item.kind for item in conversation.media)
        cut = [patchify(medium.pixels, geometry) for medium in media if isinstance(medium, Frames)]
        known = [medium.values for medium in media if isinstance(medium, Features)]
        assert not cut or not known
        return Sample(
            conversation.record_id,
            ids_tensor,
            torch.tensor(labels),
            token_types,
            kinds,
            grids,
            joined(cut),
            joined(known),
        )

    def _pieces(self, conversation: Conversation, *, answer: bool) -> list[tuple[str, bool]]:
        """Split the rendered chat where assistant turns begin and end; True marks labelled text.

        Each piece is tokenized separately, so an answer's tokens are those that generation would have to produce.
        """
        messages = list(conversation.messages)
        _check_texts(conversation)
        whole = self._render(messages, open_turn=answer)
        media_marks = sum(whole.count(pad) for pad in PADS.values())
        if media_marks != len(conversation.media):
            raise _rewritten(conversation, "does not show every medium once")
        spans = [] if answer else self._answer_spans(messages, whole, conversation)
        pieces, end = [], 0
        for start, stop in spans:
            pieces += [(whole[end:start], False), (whole[start:stop], True)]
            end = stop
        return [piece for piece in [*pieces, (whole[end:], False)] if piece[0]]

    def _answer_spans(self, messages: list[Any], whole: str, conversation: Conversation) -> list[tuple[int, int]]:
        spans = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._render(messages[:index], open_turn=True)
            answer = "".join(part["text"] for part in message["content"]) + TURN_END
            start, stop = len(before), len(before) + len(answer)
            if whole[:start] != before:
                raise _rewritten(conversation, "rewrites earlier turns")
            if whole[start:stop] != answer:
                raise _rewritten(conversation, f"changes the answer of turn {index}")
            spans.append((start, stop))
        if not spans:
            message = f"Record {conversation.record_id} has no assistant turn to learn from."
            raise BlockedError.of("no_answer", message, "Give it a gpt turn.", path=conversation.record_id)
        return spans

    def _check_label(self, conversation: Conversation, text: str, ids: Sequence[int]) -> None:
        """Raise BlockedError unless the labels decode to exactly the answer and its turn end."""
        decoded = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        if decoded != text and decoded != unicodedata.normalize("NFC", text):  # Qwen's tokenizer composes characters
            message = f"An answer of record {conversation.record_id} is not what its tokens say: {decoded[:80]!r}."
            fix = "Use the tokenizer of Qwen3-VL, or correct the answer."
            raise BlockedError.of("labels_differ", message, fix, path=conversation.record_id)

    def _render(self, messages: list[Any], *, open_turn: bool) -> str:
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=open_turn)
        return str(text)


def _check_texts(conversation: Conversation) -> None:
    """Raise BlockedError when a text contains a token that opens or ends turns or media."""
    texts = [part["text"] for message in conversation.messages for part in message["content"] if "text" in part]
    found = [token for token in RESERVED_TOKENS if any(token in text for text in texts)]
    if found:
        message = f"Record {conversation.record_id} contains the reserved token {found[0]} in its text."
        raise BlockedError.of("reserved_token", message, "Remove it from the text.", path=conversation.record_id)


def _rewritten(conversation: Conversation, what: str) -> BlockedError:
    message = f"The checkpoint's chat template {what} (record {conversation.record_id})."
    return BlockedError.of("chat_template", message, "Use the chat template of Qwen3-VL.", path=conversation.record_id)


def joined(parts: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Return concatenated tensors; a single one is not copied, and None is returned for no tensors."""
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0] if parts else None


def _expand(text: str, media: Iterator[tuple[Grid, Frames | Features]], geometry: Geometry) -> str:
    """Replace every media pad by as many pads as the media item has tokens, with timestamps in videos."""
    out = ""
    while True:
        kind = min((kind for kind in PADS if PADS[kind] in text), key=lambda k: text.index(PADS[k]), default=None)
        if kind is None:
            return out + text
        before, text = text.split(PADS[kind], 1)
        (_, rows, columns), medium = next(media)
        count = rows * columns // geometry.merge_size**2
        if kind == "image":
            out += before + PADS[kind] * count
        else:
            group = VISION_START + PADS[kind] * count + VISION_END
            out += before + "".join(timestamp_text(seconds) + group for seconds in medium.timestamps)


def _check_length(conversation: Conversation, token_types: torch.Tensor, max_length: int) -> None:
    length, vision = len(token_types), int((token_types > 0).sum())
    if length > max_length:
        message = (
            f"Record {conversation.record_id} needs {length} tokens ({vision} of them vision tokens), "
            f"more than the {max_length} allowed."
        )
        fix = f"Raise the maximum length to at least {length}, or lower fps or total_pixels."
        where = {"path": conversation.record_id, "got": length, "expected": max_length}
        raise BlockedError.of("sequence_too_long", message, fix, **where)


def _separate_template(folder: Path) -> str:
    path = folder / "chat_template.json"
    if not path.is_file():
        message = f"{folder} has no chat template."
        raise BlockedError.of("no_chat_template", message, "Give a folder with chat_template.jinja.")
    template = json_reader.read_object(path, "Download the checkpoint's processor files again.").get("chat_template")
    if not isinstance(template, str):
        message = f"{path} has no text as chat_template."
        raise BlockedError.of("no_chat_template", message, "Give a folder with chat_template.jinja.")
    return template
