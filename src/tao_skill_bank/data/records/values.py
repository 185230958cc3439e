"""What a record holds once it is read: turns, their parts, media with their place and times. All of it is frozen."""

from dataclasses import dataclass
from typing import Literal

MediaKind = Literal["video", "image"]
Role = Literal["system", "user", "assistant"]
TurnFormat = Literal["from/value", "role/content", "question/answer"]


@dataclass(frozen=True)
class Media:
    """One medium that a record shows; names are relative to the dataset's media path.

    Attributes:
        kind: video or image; a list of frames is a video.
        name: its file; of a list of frames, the first one.
        frames: the files of a video that is given as a list of frames, in order.
        rate: frames per second of the source, or of `frames` where these were sampled before; None when not given.
        indices: which frames of the source `frames` are, where they were sampled before; all of them are shown.
        start, end: seconds of the source between which frames are shown; None leaves it to the spec.

    """

    kind: MediaKind
    name: str
    frames: tuple[str, ...] = ()
    rate: float | None = None
    indices: tuple[int, ...] | None = None
    start: float | None = None
    end: float | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files of this medium."""
        return self.frames or (self.name,)


@dataclass(frozen=True)
class Part:
    """One part of a turn: text, or the place of a medium."""

    kind: Literal["text", "video", "image"]
    text: str = ""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation with its parts in order; neighbouring texts are one part."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The turn's text without its media."""
        return "\n".join(part.text for part in self.parts if part.kind == "text")


@dataclass(frozen=True)
class Record:
    """One record of an annotation file.

    Attributes:
        id: as text; None when it has none.
        turns: the conversation, its system turn included where the record has one.
        media: one entry per media part of the turns, in that order; without a conversation, those that are named.
        turn_format: how the turns are written; None without any.
        num_characters: of all texts, markers included.
        unread: paths of keys that nobody reads, such as `source` or `conversations[].weight`.
        reads_start: the range of time comes from the keys `start` and `end`.

    """

    id: str | None = None
    turns: tuple[Turn, ...] = ()
    media: tuple[Media, ...] = ()
    turn_format: TurnFormat | None = None
    num_characters: int = 0
    unread: tuple[str, ...] = ()
    reads_start: bool = False

    @property
    def answers(self) -> tuple[int, ...]:
        """The positions of the turns that a model learns to give."""
        return tuple(index for index, turn in enumerate(self.turns) if turn.role == "assistant")

    @property
    def system(self) -> str:
        """The record's own system prompt; empty when it has none."""
        return self.turns[0].text if self.turns and self.turns[0].role == "system" else ""

    def name(self, index: int) -> str:
        """Return what errors call the record: its id, else its position."""
        return f"#{index}" if self.id is None else self.id


@dataclass(frozen=True)
class RecordIssue:
    """One thing that is wrong with a record: its code, the place in the record, and what is there."""

    code: str
    place: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.place, self.detail)))


@dataclass(frozen=True)
class RecordRules:
    """What records of one dataset must hold.

    Attributes:
        conversations_key: where the turns are. `messages` is read for the default key; empty looks for them.
        required_fields: what every record with a video must have.
        needs_answer: whether a conversation without an assistant turn is an issue.
        needs_turns: whether a record without a conversation is an issue; else its media are all that it shows.
        reserved_tokens: texts that the model's chat template writes, which no text of a record may contain.

    """

    conversations_key: str = "conversations"
    required_fields: tuple[str, ...] = ()
    needs_answer: bool = False
    reserved_tokens: tuple[str, ...] = ()
    needs_turns: bool = True
