"""Whether a search's gain over its recipe is more than chance: by paired answers, or by the recipe with other seeds.

An evaluation of the recipe's checkpoint and that of the best answer the same questions, so their difference has an
interval. Where nothing evaluates a checkpoint by itself, the recipe is trained again with other seeds: a gain within
the range of those scores is not one.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tao_skill_bank.automl.plan.storage import Entry
from tao_skill_bank.automl.run.best import score_of
from tao_skill_bank.automl.run.evaluations import Pause, evaluate, finish
from tao_skill_bank.automl.run.trials import FINAL, TRAIN, TrialJobs
from tao_skill_bank.core import nested
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.report import paired, views
from tao_skill_bank.runs.run_directory import RunDirectory

RECIPE = "recipe_evaluation"  # folder of the evaluation of the recipe's checkpoint
AGAIN = "recipe_again"  # folders of the recipe's trainings with other seeds, numbered from 1
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gain:
    """How much better the best trial is than the recipe.

    Attributes:
        name: the metric that is compared.
        value: better is positive.
        low, high: a 95 % interval of the gain, or by how much other seeds of the recipe are worse and better.
        is_real: whether the gain is more than that; None where nothing was measured.
        basis: how that is known, or why not.

    """

    name: str
    value: float
    low: float | None
    high: float | None
    is_real: bool | None
    basis: str

    @property
    def text(self) -> str:
        """The gain in a sentence."""
        shown = f"The gain over the recipe in {self.name} is {self.value:+.4g}"
        if self.is_real is None:
            return f"{shown}; whether it exceeds the noise is not known: {self.basis}."
        return f"{shown}: {'more than' if self.is_real else 'within'} the noise ({self.basis})."

    @property
    def metrics(self) -> dict[str, float | None]:
        """The gain and what chance explains, as numbers of a summary."""
        return {f"gain/{self.name}": self.value, f"gain_low/{self.name}": self.low, f"gain_high/{self.name}": self.high}


def measure(trials: TrialJobs, entries: Sequence[Entry], best: Entry, pause: Pause, *, is_evaluated: bool) -> None:
    """Evaluate the recipe's checkpoint, or train the recipe with other seeds, as far as it says something.

    A failure of these jobs is logged: the search itself succeeded.
    """
    if best.number == 0 or score_of(entries[0]) is None:
        return
    try:
        if is_evaluated:
            parent = next(job.id for job in reversed(entries[0].jobs) if job.kind == TRAIN)
            evaluate(trials, RECIPE, parent, pause)
        for number in range(1, _repeats(trials, is_evaluated=is_evaluated) + 1):
            _train_again(trials, entries[0], number, pause)
    except TaoSkillsError as error:
        logger.warning("Whether the gain exceeds the noise was not measured: %s", error)


def gain(trials: TrialJobs, entries: Sequence[Entry], best: Entry | None) -> Gain | None:
    """Return the gain over the recipe, from what was measured so far; None for the recipe itself or without a score."""
    recipe = score_of(entries[0]) if entries else None
    if best is None or best.number == 0 or recipe is None or best.trial.score is None:
        return None
    found = _by_answers(trials)
    return found or _by_seeds(trials, recipe, recipe - best.trial.score)


def _by_answers(trials: TrialJobs) -> Gain | None:
    """Return the paired difference of the evaluations' metric, None where there are not both."""
    evaluation = trials.study.keys.evaluation
    before, after = (views.read(name, RunDirectory(trials.run_dir / name)) for name in (RECIPE, FINAL))
    compared = paired.compare(before, after)
    if evaluation is None or compared is None:
        return None
    change = next((each for each in compared.changes if each.name == evaluation.metric), None)
    is_same = change is not None and not (change.value or compared.gained or compared.lost)
    if change is not None and is_same:
        basis = f"{compared.questions} paired questions, each answered rightly by both or by neither"
        return Gain(evaluation.metric, change.value, 0.0, 0.0, False, basis)
    if change is None or change.interval is None:
        return None
    sign = 1 if evaluation.direction == "maximize" else -1
    low, high = sorted(sign * bound for bound in change.interval)
    basis = f"95 % interval {low:+.4g} to {high:+.4g}, {compared.questions} paired questions"
    return Gain(evaluation.metric, sign * change.value, low, high, low > 0, basis)


def _by_seeds(trials: TrialJobs, recipe: float, value: float) -> Gain:
    looks = (trials.validated(folder) for folder in sorted(trials.run_dir.glob(f"{AGAIN}_*")))
    again = [min(look.scores.values()) for look in looks if look.scores]
    name = trials.study.metric.title
    if not again:
        return Gain(name, value, None, None, None, "the recipe was not repeated (--automl repeats=1 does it)")
    low, high = (recipe - bound for bound in (max(recipe, *again), min(recipe, *again)))
    basis = f"{len(again) + 1} seeds of the recipe differ by {high - low:.4g}"
    return Gain(name, value, low, high, value > high - low, basis)


def _repeats(trials: TrialJobs, *, is_evaluated: bool) -> int:
    wanted = trials.study.options.repeats
    if trials.study.keys.seed is None or trials.study.metric.action is not None:
        return 0
    return (0 if is_evaluated else 1) if wanted is None else wanted


def _train_again(trials: TrialJobs, recipe: Entry, number: int, pause: Pause) -> None:
    """Train the recipe with another seed, as far as the recipe was trained."""
    key, keys = trials.study.keys.seed, trials.study.keys
    assert key is not None
    name = f"{AGAIN}_{number}"
    request = trials.train_request(recipe, trials.study.devices[0] if trials.study.devices else None)
    overrides = dict(request.overrides) | {key: int(nested.get(trials.plan.job.spec, key) or 0) + number}
    if keys.resume:
        overrides.pop(keys.resume, None)
    folder = str(trials.run_dir / name)
    finish(trials, name, replace(request, overrides=overrides, results_dir=folder), pause)
