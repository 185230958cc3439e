"""Compares the scores of two evaluations of videos of the same prompts: the paired gain with its interval."""

from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.core import intervals, locations
from tao_skill_bank.core.intervals import Clips
from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.runs.run_directory import verbatim_json, write_whole
from tao_skill_bank.workflows import video_scores
from tao_skill_bank.workflows.stage import Context

FILE, SEED = "comparison.json", 0
OUTPUTS = {
    "gain": "mean improvement over the prompts that both scored; above 0 is better, also where lower scores are",
    "ci_low": "lower end of its 95 % interval; null where it has none",
    "ci_high": "upper end",
    "prompts": "that both scored",
    "before": "mean score before",
    "after": "mean score after",
}


@contract
class Arguments:
    """Two evaluations by their run directories, the score that counts, and of which variant; null for all."""

    before: str
    after: str
    metric: str
    higher_is_better: bool = True
    before_variant: str | None = None
    after_variant: str | None = None


def promised(_arguments: Arguments, folder: Path) -> list[Path]:
    """Return the comparison as a document."""
    return [folder / FILE]


def run(arguments: Arguments, context: Context) -> dict[str, Any]:
    """Compare.

    Raises:
        BlockedError: results cannot be read, or no prompt was scored in both.
        MissingExtraError: scipy, which the interval needs, is not installed.

    """
    before = _means(arguments.before, arguments.metric, arguments.before_variant)
    after = _means(arguments.after, arguments.metric, arguments.after_variant)
    shared = [name for name in before if name in after]
    if not shared:
        message = f"No prompt has the score {arguments.metric} in both {arguments.before} and {arguments.after}."
        raise BlockedError.of("nothing_to_compare", message, "Evaluate videos of the same prompts.", path="before")
    sign = 1.0 if arguments.higher_is_better else -1.0
    gains = [sign * (after[name] - before[name]) for name in shared]
    try:
        interval = intervals.of_mean(gains, Clips.of(shared, SEED))
    except ImportError:
        raise MissingExtraError.for_module("scipy", "train") from None
    given = {
        "gain": sum(gains) / len(gains),
        "ci_low": interval.low if interval else None,
        "ci_high": interval.high if interval else None,
        "prompts": len(shared),
        "before": sum(before[name] for name in shared) / len(shared),
        "after": sum(after[name] for name in shared) / len(shared),
    }
    write_whole(context.folder / FILE, verbatim_json(given))
    return given


def _means(folder: str, metric: str, variant: str | None) -> dict[str, float]:
    """Return the mean score of each prompt over its seeds."""
    found: dict[str, list[float]] = {}
    for score in video_scores.of(locations.absolute(folder), metric):
        if variant in (None, score.variant) and score.value is not None:
            found.setdefault(score.name, []).append(score.value)
    return {name: sum(values) / len(values) for name, values in found.items()}
