"""The questions of an evaluation, and their prompts as samples."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

from tao_skill_bank.data.media_probe import MediaProbe, probe_header
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.errors import BlockedError, TaoSkillsError
from tao_skill_bank.models.cosmos_reason import conversation, data, turns
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.media import Frames
from tao_skill_bank.models.cosmos_reason.processor import Sample
from tao_skill_bank.models.cosmos_reason.record_tokens import record_tokens
from tao_skill_bank.training.distributed import Ranks

CONVERSATIONS = "conversations"  # the key of turns in evaluation sets
HASHED_BYTES = 2**16
TRANSIENT = "media_unreadable"  # may succeed when retried on a network file system


@dataclass(frozen=True)
class Question:
    """One question to answer.

    Attributes:
        index: position of its record in the annotation file.
        turn: its number among the questions of its record, from 1, where each of them is asked; 0 for the last one.
        identify: returns a hash of everything that the model is shown; it reads from the clips.

    """

    index: int
    record_id: str
    media: str
    text: str
    truth: str
    turn: int = 0
    identify: Callable[[], str] = field(default=str, compare=False, repr=False)

    @cached_property
    def identity(self) -> str:
        """A hash of everything that the model is shown: the prompt and the content of its media."""
        return self.identify()

    @property
    def name(self) -> str:
        """Unique in an evaluation: the index, and the turn where every question is asked."""
        return f"{self.index}.{self.turn}" if self.turn else str(self.index)


@dataclass(frozen=True)
class Prompts:
    """Samples whose last assistant turn is to be generated.

    Attributes:
        context: tokens of question and answer together.
        room: tokens of them reserved for the answer.
        asked: the record and the turn of every question; empty for the last question of each record.

    """

    records: data.Records
    context: int
    room: int
    max_retries: int
    asked: tuple[tuple[int, int], ...] = ()

    def __getitem__(self, position: int) -> Sample:
        prompt = self.prompt(position)
        return self.encode(prompt, self.frames(prompt))

    def __len__(self) -> int:
        return len(self.asked) or len(self.records)

    def prompt(self, position: int) -> conversation.Conversation:
        """Return a record's conversation up to the question."""
        return self._question(position).prompt

    def question(self, position: int, index: int) -> Question:
        """Return a question, whose record has an index in the annotation file."""
        found = self._question(position)
        media = found.prompt.media[0].name if found.prompt.media else ""
        turn = found.turn if self.asked else 0
        identify = partial(self._identity, found.prompt)
        return Question(index, found.prompt.record_id, media, found.text, found.truth, turn, identify)

    def _question(self, position: int) -> turns.Asked:
        record, turn = self.asked[position] if self.asked else (position, 0)
        found = turns.asked(self.records.conversation(record), every=bool(turn))
        return found[turn - 1] if turn else found[0]

    def _identity(self, prompt: conversation.Conversation) -> str:
        """Return a hash of a prompt: its messages, its media's content and their times."""
        folder = self.records.folder
        media = [
            {**asdict(item), "name": "", "frames": [content_of(folder / name) for name in item.files]}
            for item in prompt.media
        ]
        shown = json.dumps([prompt.messages, media], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(shown.encode()).hexdigest()[:32]

    def frames(self, prompt: conversation.Conversation) -> list[Frames]:
        """Return the sampled and resized frames of a prompt's media, retrying unreadable files."""
        for _ in range(self.max_retries):
            try:
                return self._frames(prompt)
            except TaoSkillsError as error:
                if error.problems[0].code != TRANSIENT:
                    raise
        return self._frames(prompt)

    def _frames(self, prompt: conversation.Conversation) -> list[Frames]:
        return cast(list[Frames], self.records.frames(prompt))  # features are cached only for training

    def encode(self, prompt: conversation.Conversation, frames: list[Frames]) -> Sample:
        """Return the prompt as model inputs. Raises BlockedError when it leaves too few tokens for the answer."""
        try:
            return self.records.processor.encode(prompt, frames, max_length=self.context - self.room, answer=True)
        except BlockedError as error:
            problem = error.problems[0]
            if problem.code != "sequence_too_long":
                raise
            needed = int(problem.got) + self.room
            message = (
                f"The question of record {prompt.record_id} has {problem.got} tokens: with {self.room} for the answer "
                f"(generation.max_tokens) it needs {needed} of the {self.context} that model.max_length and the model "
                "allow."
            )
            fix = f"Raise model.max_length to {needed} if the model can, or lower vision.fps, nframes or total_pixels."
            raise BlockedError.of(
                "question_too_long", message, fix, path=prompt.record_id, got=needed, expected=self.context
            ) from None


def content_of(path: Path) -> str:
    """Return the size of a file and a hash of its beginning, middle and end; of a small file, of all of it."""
    try:
        size, digest = path.stat().st_size, hashlib.sha256()
        with path.open("rb") as file:
            for start in (0, size // 2, size - HASHED_BYTES) if size > 3 * HASHED_BYTES else (0,):
                file.seek(start)
                digest.update(file.read(HASHED_BYTES if size > 3 * HASHED_BYTES else -1))
    except OSError:
        return "unreadable"  # reported when it is decoded
    return f"{size}:{digest.hexdigest()}"


def lengths(config: EvaluateConfig, records: data.Records, ranks: Ranks) -> list[int]:
    """Return the predicted tokens of every record, from its text and its media's headers; split over the ranks.

    A record with unreadable media counts as 0: its error is reported when it is read.
    """
    spec = asdict(config)
    own = {
        position: _length(spec, records.records[position], records.folder)
        for position in range(ranks.rank, len(records), ranks.world)
    }
    known = {position: length for part in ranks.gather(own) for position, length in part.items()}
    return [known[position] for position in range(len(records))]


def _length(spec: dict[str, Any], record: data.Record, folder: Path) -> int:
    try:
        return record_tokens(spec, record, [header_of(folder, item) for item in media_of(record, CONVERSATIONS)])
    except (TaoSkillsError, OSError, ValueError, ArithmeticError, LookupError):
        return 0


def header_of(folder: Path, item: Media) -> MediaProbe:
    """Return what the header of a medium says; of a list of frames that of its first one, with their number."""
    if not item.frames:
        return probe_header(folder / item.name, item.kind)
    return replace(probe_header(folder / item.name, "image"), num_frames=len(item.frames))
