"""Answers to questions about media: confusion, classes, calibration, a paired test, and samples with frames."""

from collections.abc import Sequence
from typing import Any

from tao_skill_bank.report import paired, samples
from tao_skill_bank.report.views import RunView


def view(runs: Sequence[RunView]) -> dict[str, Any]:
    """Return samples of the last evaluation with what the earlier ones answered, and how it differs from the first."""
    compared = paired.compare(runs[0], runs[-1]) if len(runs) > 1 else None
    return {"gallery": samples.gallery(runs), "paired": compared}
