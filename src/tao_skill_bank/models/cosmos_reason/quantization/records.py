"""Calibration and held-out records; their errors refer to the parameters of this action."""

from collections.abc import Iterator
from contextlib import contextmanager

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import conversation, data
from tao_skill_bank.models.cosmos_reason.config import QuantizeConfig
from tao_skill_bank.models.cosmos_reason.config.quantize import CalibrationData
from tao_skill_bank.models.cosmos_reason.processor import Processor, Sample


class Records(data.Records):
    """Encoded records, whole or up to the last question."""

    def __getitem__(self, index: int) -> Sample:
        with _own_fix():
            return super().__getitem__(index)

    def prompt(self, index: int) -> Sample:
        """Return a record up to its last question."""
        asked, _, _ = conversation.question_and_answer(self.conversation(index))
        with _own_fix():
            limit = self.presentation.max_length
            return self.processor.encode(asked, self.frames(asked), max_length=limit, answer=True)

    def question(self, index: int) -> tuple[str, str]:
        """Return a record's last question and its true answer."""
        _, asked, truth = conversation.question_and_answer(self.conversation(index))
        return asked, truth


def calibration(config: QuantizeConfig, processor: Processor) -> Records:
    """Return the requested number of records, spread evenly over the file, or all if it has fewer."""
    records = data.read_annotations(config.calibration_dataset.annotation_path)
    wanted = min(config.quantize.num_calibration_samples, len(records))
    chosen = [records[position * len(records) // wanted] for position in range(wanted)]
    return _of(config, config.calibration_dataset, chosen, processor)


def held_out(config: QuantizeConfig, processor: Processor) -> Records | None:
    """Return the records of the spec's `dataset`, or None without one."""
    if config.dataset is None:
        return None
    return _of(config, config.dataset, data.read_annotations(config.dataset.annotation_path), processor)


def _of(config: QuantizeConfig, source: CalibrationData, records: list[data.Record], processor: Processor) -> Records:
    shown = data.Presentation(config.vision, config.quantize.max_sequence_length, config.system_prompt)
    return Records(records, source.media_dir, processor, shown)


@contextmanager
def _own_fix() -> Iterator[None]:
    try:
        yield
    except BlockedError as error:
        problem = error.problems[0]
        if problem.code != "sequence_too_long":
            raise
        fix = f"Set quantize.max_sequence_length to at least {problem.got}, or lower vision.fps or vision.total_pixels."
        where = {"path": problem.path, "got": problem.got, "expected": problem.expected}
        raise BlockedError.of(problem.code, problem.message, fix, **where) from None
