"""The metrics by which a search may compare trainings of this skill. No torch here."""

from collections.abc import Mapping

from tao_skill_bank.contracts import Input

TRAINING = (
    *("val/avg_loss", "train/loss_avg", "train/loss_public", "optimizer/lr", "optimizer/grad_norm"),
    *("train/iteration_time", "train/samples_per_second", "train/mfu", "train/peak_memory_gib"),
)
UNWORDED: frozenset[str] = frozenset()


def of_evaluation(action: str, held_out: Input | None) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG001 - the hook's
    """Return nothing: the action evaluate scores generated videos, not a checkpoint of a training."""
    return {}
