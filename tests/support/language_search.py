"""A search that asks a language model on the loopback: its space, its setup, and models that follow a script."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from search_simulator import RECIPE, curve

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms import Setup
from tao_skill_bank.automl.plan.dimension import Dimension
from tao_skill_bank.automl.plan.history import Start, Trial, TrialState
from tao_skill_bank.automl.plan.options import Endpoint
from tao_skill_bank.automl.plan.space import Space

SPACE = Space(
    (
        Dimension("train.lr", "float", 1e-6, 1e-4, log=True),
        Dimension("lora.r", "power", 2, 7, integer=True),
        Dimension("lora.alpha", "ratio", -2, 2, of="lora.r", ratio=2.0, power=True, integer=True),
        Dimension("train.decay", "share", 0.0, 1.0, of="train.epoch", minimum=0.0),
        Dimension("train.schedule", "choice", choices=("cosine", "linear", "constant"), weights=(0.6, 0.4, 0.0)),
        Dimension("train.packing", "choice", choices=(True, False)),
    ),
    fixed={"train.epoch": 10},
)
VALUES = {
    "train.lr": 2e-5,
    "lora.r": 32,
    "lora.alpha": 64,
    "train.decay": 0.5,
    "train.schedule": "linear",
    "train.packing": True,
}
RECIPE_TRIAL = Trial(0, RECIPE, TrialState.COMPLETE, {1: 0.9, 2: 0.5}, origin="recipe", gpu_hours=0.5)


def endpoint(url: str, **more: Any) -> Endpoint:
    return Endpoint(url, "judge-1", **{"retries": 0, "timeout_seconds": 5.0, **more})


def setup(url: str, **options: Any) -> Setup:
    """Return a setup; `options` that `Endpoint` has go into it."""
    own = {name: options.pop(name) for name in list(options) if name in Endpoint.__dataclass_fields__}
    return Setup(SPACE, seed=3, max_trials=12, options={"endpoint": endpoint(url, **own), **options})


def point_reply(rationale: str = "A larger rank may fit better.", **values: Any) -> str:
    changed = {**VALUES, **{name.replace("__", "."): value for name, value in values.items()}}
    return json.dumps({"values": changed, "rationale": rationale})


def question(body: dict[str, Any]) -> str:
    text: str = body["messages"][0]["content"]
    return text


def trials_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the trials that a question tells of."""
    return [json.loads(line) for line in question(body).splitlines() if line.startswith('{"trial"')]


def neighbour_of_the_best(body: dict[str, Any]) -> str:
    """Answer with the first untried neighbour of the best trial, a further one after each refusal."""
    trials = trials_of(body)
    tried = [trial["values"] for trial in trials]
    best = min(trials, key=lambda trial: math.inf if trial["score"] is None else trial["score"])
    untried = [values for values in _neighbours(best["values"]) if values not in tried]
    values = untried[len(body["messages"]) // 2]
    return json.dumps({"values": values, "rationale": f"next to trial {best['trial']}"})


def _neighbours(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rank, alpha = values["lora.r"], values["lora.alpha"]
    for step in range(1, 20):
        for factor in (1 + 0.2 * step, 1 / (1 + 0.2 * step)):
            yield {**values, "train.lr": min(max(values["train.lr"] * factor, 1e-6), 1e-4)}
            if 4 <= rank * 2 <= 128 and step == 1 and factor > 1:
                yield {**values, "lora.r": rank * 2, "lora.alpha": alpha * 2}


def ended(decision: Any, number: int, epochs: int = 3) -> Trial:
    """Return the trial that a decision begins, trained to its end, as a storage would give it back."""
    assert isinstance(decision, Start)
    scores = {epoch: curve(decision.coordinates, epoch) for epoch in range(1, epochs + 1)}
    kept = json.loads(json.dumps(decision.sampler))
    return Trial(number, decision.coordinates, TrialState.COMPLETE, scores, None, decision.origin, None, 0.3, kept)


def run(name: str, built_from: Setup, on_trial: Callable[[list[Trial]], None] = lambda _: None) -> list[Trial]:
    """Run a search to its end, one trial at a time, with a new algorithm for each, as if it had been killed."""
    recipe_scores = {epoch: curve(RECIPE, epoch) for epoch in (1, 2, 3)}
    trials = [replace(RECIPE_TRIAL, scores=recipe_scores)]
    while isinstance(decision := algorithms.build(name, built_from).decide(trials), Start):
        trials.append(ended(decision, len(trials)))
        on_trial(trials)
    return trials
