"""Engines that answer questions: the model in this process, or a server."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.choices import Choices
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.questions import Prompts
from tao_skill_bank.models.cosmos_reason.rank_assignment import Batch


class Engine(Protocol):
    """Loaded, connected and ready to answer."""

    @property
    def processor(self) -> Processor:
        """The checkpoint's tokenizer and pixel format."""

    @property
    def weights(self) -> Mapping[str, str | None]:
        """Fingerprints that distinguish these weights from others of the same name."""

    @property
    def context(self) -> int:
        """The model's context length in tokens."""

    def answers(
        self, batches: Sequence[Batch], prompts: Prompts, choices: Sequence[Choices] = ()
    ) -> Iterator[tuple[Batch, list[Response]]]:
        """Yield each batch with its answers as soon as they are available, in any order.

        Args:
            batches: positions of questions.
            prompts: the questions.
            choices: of every question, to answer with the most likely one; none to generate answers.

        Raises:
            TaoSkillsError: an error that stops the evaluation; finished answers are yielded first.

        """
