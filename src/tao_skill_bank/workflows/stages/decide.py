"""Decides after a round of a loop whether what was trained replaces the best so far, and why the loop ends.

A checkpoint replaces the best one only when its gain is sure: the lower end of the 95 % interval of the paired change
is above what is asked for. Otherwise the best one stays.
"""

from pathlib import Path
from typing import Any, Literal

from tao_skill_bank.contracts import contract
from tao_skill_bank.runs.run_directory import verbatim_json, write_whole
from tao_skill_bank.workflows.stage import Context
from tao_skill_bank.workflows.stages import compare

FILE = "decision.json"
SIGNIFICANT = 0.05
Outcome = Literal["improved", "target_met", "no_gain", "regression"]
OUTPUTS = {
    "outcome": "improved, target_met, no_gain or regression",
    "evaluation": "the evaluation of the best so far, this round included",
    "folder_of_best": "run directory of that evaluation",
    "training": "the job whose checkpoint is the best so far; null where that is what the loop began with",
    "score": "its figure",
    "gain": "mean change of this round against the best before",
    "ci_low": "lower end of its 95 % interval",
    "ci_high": "upper end",
    "newly_right": "questions that this round answers rightly, and the best before did not",
    "newly_wrong": "the reverse",
}


@contract
class Arguments:
    """The best before and what this round made.

    Attributes:
        best: evaluation of the best before this round.
        best_training: the job that trained it; null for what the loop began with.
        tuned, training: evaluation and training of this round.
        score, best_score: their figures.
        target: the loop ends once a figure is at least this; null for none.
        min_gain: the lower end of the gain's interval must be above this.
        metric: the figure that counts, of single answers, where more is better.

    """

    best: str
    best_score: float
    tuned: str
    training: str
    score: float
    best_training: str | None = None
    target: float | None = None
    min_gain: float = 0.0
    metric: str = "accuracy"


def promised(_arguments: Arguments, folder: Path) -> list[Path]:
    """Return the decision and the comparison that it rests on."""
    return [folder / FILE, *compare.promised(compare.Arguments("", ""), folder)]


def run(arguments: Arguments, context: Context) -> dict[str, Any]:
    """Compare and decide. Raises like `compare.run`."""
    pair = compare.Arguments(arguments.best, arguments.tuned, arguments.metric)
    change = compare.run(pair, context)
    low, high = _interval(change)
    is_sure, is_worse = low > arguments.min_gain, high < 0
    outcome: Outcome = "improved" if is_sure else "regression" if is_worse else "no_gain"
    if is_sure and arguments.target is not None and arguments.score >= arguments.target:
        outcome = "target_met"
    evaluation, training = arguments.best, arguments.best_training
    if is_sure:
        evaluation, training = arguments.tuned, arguments.training
    given = {
        "outcome": outcome,
        "evaluation": evaluation,
        "folder_of_best": str(compare.folder_of(evaluation)),
        "training": training,
        "score": arguments.score if is_sure else arguments.best_score,
        **{name: change[name] for name in ("gain", "ci_low", "ci_high", "newly_right", "newly_wrong")},
    }
    write_whole(context.folder / FILE, verbatim_json({**given, "min_gain": arguments.min_gain}))
    context.say(f"round {context.iteration}: {outcome}, gain {change['gain']:+.4f}")
    return given


def _interval(change: dict[str, Any]) -> tuple[float, float]:
    """Return the ends of the gain's interval; where every answer changed alike it has none, and McNemar's test decides.

    A single clip has no interval either: it is never sure.
    """
    if change["ci_low"] is not None and change["ci_high"] is not None:
        return change["ci_low"], change["ci_high"]
    is_significant = change["p_value"] is not None and change["p_value"] < SIGNIFICANT
    return (change["gain"], change["gain"]) if is_significant else (-1.0, 1.0)
