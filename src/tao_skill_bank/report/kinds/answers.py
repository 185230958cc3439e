"""Answers to questions about media: confusion matrices, per-class scores, and samples with frames."""

from collections.abc import Sequence
from typing import Any

from tao_skill_bank.report import samples
from tao_skill_bank.report.views import RunView


def view(runs: Sequence[RunView]) -> dict[str, Any]:
    """Return samples of the last evaluation with what the earlier ones answered."""
    return {"gallery": samples.gallery(runs)}
