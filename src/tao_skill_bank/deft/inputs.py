"""What a user says of a DEFT run, as the inputs of its workflow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import nested
from tao_skill_bank.core.findings import warning
from tao_skill_bank.deft import SKILL
from tao_skill_bank.errors import Problem, RequestError
from tao_skill_bank.spec.model_key import SPELLING

ACTIONS = ("evaluate", "train", "embed")
MINING = ("mine", "both")  # modes that need a pool


def set_by_loop(action: str) -> set[str]:
    """Return the spec keys of an action that the loop sets itself: its model, its data and where its results go."""
    info = catalog.find(SKILL).info
    inputs, sources = info.actions[action].inputs, info.data_sources.get(action, {})
    named = [SPELLING, *info.actions[action].results_keys, inputs.model, *inputs.models]
    for source in sources.values():
        named += [source.annotation_path, source.media_path, source.folder]
    return {key for key in named if key}


@dataclass(frozen=True)
class Wanted:
    """A DEFT run as a user describes it.

    Attributes:
        model: to begin with; empty where it is not given yet.
        overrides: of each action, by dotted keys or nested.
        inputs: of the workflow, by name: datasets and everything else.

    """

    model: str = ""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def merged(self, other: "Wanted") -> "Wanted":
        """Return this with what `other` says instead, or in addition."""
        actions = {**self.overrides, **other.overrides}
        both = {action: {**self.overrides.get(action, {}), **other.overrides.get(action, {})} for action in actions}
        return Wanted(other.model or self.model, both, {**self.inputs, **other.inputs})

    def values(self) -> dict[str, Any]:
        """Return the inputs of the workflow. Raises RequestError without a model, or for an unknown action."""
        problems = [
            Problem(
                "unknown_action", f"DEFT runs no action '{action}'.", f"Use: {', '.join(ACTIONS)}.", "--set", action
            )
            for action in self.overrides
            if action not in ACTIONS
        ]
        for action in set(self.overrides) & set(ACTIONS):
            for path in sorted({path for path, _ in nested.flatten(self.overrides[action])} & set_by_loop(action)):
                message = f"The loop itself sets {path} of {action}: the model, the data and the folder of every step."
                fix = "Leave it out; the model is --model, and the data are --kpi, --test, --train and --pool."
                problems.append(Problem("set_by_loop", message, fix, f"--set {action}:{path}"))
        if not self.model:
            message = "The model that the loop begins with is missing."
            problems.append(Problem("model_missing", message, "Give it: --model NAME_OR_FOLDER", "--model"))
        mode = str(self.inputs.get("mode", "mine"))
        if mode in MINING and not self.inputs.get("pool"):
            message = f"The mode {mode} mines a pool, and none is given."
            fix = "Give labelled clips: --pool DATA, or generate videos: --input mode=generate"
            problems.append(Problem("pool_missing", message, fix, "--pool"))
        if problems:
            raise RequestError(problems)
        model = {SPELLING: self.model}
        evaluation = dict(self.overrides.get("evaluate", {}))
        of_actions = {
            "base": model | evaluation,
            "evaluation": evaluation,
            "training": dict(self.overrides.get("train", {})),
            "embedding": model | dict(self.overrides.get("embed", {})),
        }
        return {"model": self.model, **of_actions, **self.inputs}


def findings(values: Mapping[str, Any]) -> list[Finding]:
    """Return what is to be known of a run before it begins."""
    if values.get("test") is not None:
        return []
    message = "There is no test set: the figure on the KPI set is optimistic, because choices are made on it."
    fix = "Give questions on which nothing is chosen: --test DATA"
    return [warning("figure_optimistic", message, fix, "inputs.test")]
