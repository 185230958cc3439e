"""The metrics by which a search of a skill may compare trainings: what a model's `scores.py` names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from tao_skill_bank.bank import model_hooks
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Input

MODULE = "scores"


@dataclass(frozen=True)
class MetricNames:
    """The metrics of a skill's trainings and of one evaluation, for the held-out data of a request.

    Attributes:
        training: what metrics.jsonl gets.
        action: the evaluation; None for none.
        evaluation: its metrics by the kind of the data, one kind where the data shows it; empty where it scores no
            checkpoint of a training.
        unworded: those whose names say something else in a sentence.

    """

    training: tuple[str, ...]
    action: str | None
    evaluation: Mapping[str, tuple[str, ...]]
    unworded: frozenset[str] = frozenset()

    @property
    def evaluated(self) -> tuple[str, ...]:
        """The metrics of the evaluation, of any kind of data."""
        return tuple(dict.fromkeys(name for names in self.evaluation.values() for name in names))

    @property
    def titles(self) -> tuple[str, ...]:
        """All metrics as a request writes them, those of the evaluation first."""
        return (*(f"{self.action}:{name}" for name in self.evaluated), *self.training)


def of(skill: Skill, action: str | None, held_out: Input | None) -> MetricNames | None:
    """Return the metrics of a skill, and of an evaluation of its checkpoints; None where its model names none."""
    if find_spec(f"{model_hooks.MODELS}.{skill.info.package}.{MODULE}") is None:
        return None
    module: Any = model_hooks.load(skill.info.package, MODULE)
    found: Mapping[str, tuple[str, ...]] = {}
    if action is not None:
        failure = f"of_evaluation of {module.__file__} fails"
        found = model_hooks.call(failure, lambda: module.of_evaluation(action, held_out))
    return MetricNames(module.TRAINING, action, found, module.UNWORDED)


def held_out(inputs: Iterable[Input]) -> Input | None:
    """Return the input that trainings are validated on; None where records are split off."""
    return next((given for given in inputs if given.role == "eval"), None)
