"""The questions of an evaluation, and their prompts as samples."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.errors import BlockedError, TaoSkillsError
from tao_skill_bank.models.cosmos_reason import conversation, data
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.media import Frames
from tao_skill_bank.models.cosmos_reason.processor import Sample
from tao_skill_bank.models.cosmos_reason.record_tokens import record_tokens
from tao_skill_bank.training.distributed import Ranks

CONVERSATIONS = "conversations"  # the key of turns in evaluation sets
TRANSIENT = "media_unreadable"  # may succeed when retried on a network file system


@dataclass(frozen=True)
class Question:
    """One record to answer: `index` is its position in the annotation file."""

    index: int
    record_id: str
    media: str
    text: str
    truth: str

    @classmethod
    def of(cls, records: data.Records, position: int, index: int) -> "Question":
        """Return the question of a record at a position among `records`."""
        shown = records.conversation(position)
        prompt, text, truth = conversation.question_and_answer(shown)
        return cls(index, shown.record_id, prompt.media[0].name if prompt.media else "", text, truth)


@dataclass(frozen=True)
class Prompts:
    """Samples whose last assistant turn is to be generated.

    Attributes:
        context: tokens of question and answer together.
        room: tokens of them reserved for the answer.

    """

    records: data.Records
    context: int
    room: int
    max_retries: int

    def __getitem__(self, position: int) -> Sample:
        prompt = self.prompt(position)
        return self.encode(prompt, self.frames(prompt))

    def prompt(self, position: int) -> conversation.Conversation:
        """Return a record's conversation up to the question."""
        return conversation.question_and_answer(self.records.conversation(position))[0]

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
        return record_tokens(spec, record, [_header(folder, item) for item in media_of(record, CONVERSATIONS)])
    except (TaoSkillsError, OSError, ValueError, ArithmeticError, LookupError):
        return 0


def _header(folder: Path, item: Media) -> MediaProbe:
    """Return the header information of a medium without reading its packets."""
    path = folder / item.name
    if item.kind == "image" or item.frames:
        from PIL import Image

        with Image.open(path) as image:
            return _probe(image.size, len(item.files), 0.0, item.rate or 0.0)
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        seconds = float(container.duration or 0) / av.time_base
        return _probe((stream.codec_context.width, stream.codec_context.height), stream.frames, seconds, rate)


def _probe(size: Sequence[int], num_frames: int, seconds: float, rate: float) -> MediaProbe:
    return MediaProbe(size[0], size[1], num_frames, num_frames, 0, seconds, rate, has_variable_rate=False)
