"""Phases that a language model plans, and other samplers fill."""

import json
from dataclasses import replace
from typing import Any

import pytest
from chat_server import serving
from language_search import RECIPE_TRIAL, SPACE, ended, question, run, setup

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms.language import hybrid
from tao_skill_bank.automl.plan.history import Start, TrialState, Wait
from tao_skill_bank.errors import BlockedError

pytest.importorskip("openai")
WIDE = {"sampler": "random", "ranges": {}, "trials": 5, "rationale": "Look around."}
NARROW = {
    "sampler": "bayesian",
    "ranges": {"train.lr": [1e-5, 5e-5], "lora.r": [16, 64], "train.packing": [True]},
    "trials": 6,
    "rationale": "Close in.",
}


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def plans(*planned: dict[str, Any]) -> Any:
    script = iter(planned)
    return lambda _: json.dumps(next(script))


@pytest.mark.slow
def test_phases_follow_each_other_to_the_end_of_the_search() -> None:
    with serving(plans(WIDE, NARROW)) as server:
        trials = run("hybrid", setup(server.url))
    assert len(trials) == 12
    assert len(server.requests) == 2, "asked once for every phase, though every trial was begun by a new process"
    assert [trial.sampler["phase"]["start"] for trial in trials[1:]] == [1] * 5 + [6] * 6
    assert {trial.origin for trial in trials[1:6]} == {"hybrid, random"}
    for trial in trials[6:]:
        assert 1e-5 <= trial.coordinates["train.lr"] <= 5e-5
        assert trial.coordinates["lora.r"] in (4, 5, 6)
        assert trial.coordinates["train.packing"] is True
    assert "hybrid, bayesian" in {trial.origin for trial in trials[6:]}
    asked = question(server.requests[1]["body"])
    assert "- from trial 1: 5 x random, {}; best score 0." in asked
    assert "- bayesian: Multivariate" in asked


def test_the_plan_and_its_tokens_are_kept_with_the_trials() -> None:
    with serving(plans({**NARROW, "trials": 2})) as server:
        trials = run("hybrid", replace(setup(server.url), max_trials=3))
    assert trials[1].sampler["phase"] == trials[2].sampler["phase"] == {"start": 1, **NARROW, "trials": 2}
    assert trials[1].sampler["tokens"]["requests"] == 1
    assert "tokens" not in trials[2].sampler


def test_a_phase_ends_when_its_last_trial_has() -> None:
    one = {**WIDE, "trials": 1}
    with serving(plans(one, one)) as server:
        search = algorithms.build("hybrid", replace(setup(server.url), parallel=3))
        first = replace(ended(search.decide([RECIPE_TRIAL]), 1), state=TrialState.RUNNING)
        assert isinstance(search.decide([RECIPE_TRIAL, first]), Wait)
        assert len(server.requests) == 1
        second = search.decide([RECIPE_TRIAL, replace(first, state=TrialState.FAILED)])
    assert isinstance(second, Start)
    assert second.sampler["phase"]["start"] == 2


def test_trials_of_a_phase_run_side_by_side_and_differ() -> None:
    with serving(plans(WIDE)) as server:
        search = algorithms.build("hybrid", replace(setup(server.url), parallel=4))
        trials = [RECIPE_TRIAL]
        while isinstance(decision := search.decide(trials), Start):
            trials.append(replace(ended(decision, len(trials)), state=TrialState.RUNNING, scores={}))
    assert len(trials) == 5
    assert len({json.dumps(trial.coordinates) for trial in trials}) == 5


def test_the_same_trials_give_the_same_decision_within_a_phase() -> None:
    with serving(plans(WIDE)) as server:
        trials = [RECIPE_TRIAL, ended(algorithms.build("hybrid", setup(server.url)).decide([RECIPE_TRIAL]), 1)]
        decisions = [algorithms.build("hybrid", setup(server.url)).decide(trials) for _ in range(2)]
    assert decisions[0] == decisions[1]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sampler": "bayes"}, "There is no sampler 'bayes'. Did you mean 'bayesian'?"),
        ({"sampler": "asha"}, "There is no sampler 'asha'."),
        ({"trials": 0}, "'trials' is 0; it must be from 1 to 11, the remaining trials."),
        ({"trials": 12}, "'trials' is 12; it must be from 1 to 11"),
        ({"trials": "5"}, "'trials' is \"5\"; it must be a whole number."),
        ({"trials": True}, "'trials' is true; it must be a whole number."),
        ({"ranges": {"train.lr": [0, 1]}}, "train.lr: [0, 1] is not a range inside it."),
        ({"ranges": ["train.lr"]}, "'ranges' is [\"train.lr\"]; it must be an object."),
        ({"rationale": ""}, "'rationale' is empty."),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(change: dict[str, Any], complaint: str) -> None:
    with serving(plans({**WIDE, **change}, WIDE)) as server:
        decision = algorithms.build("hybrid", setup(server.url)).decide([RECIPE_TRIAL])
    assert complaint in decision.sampler["refused"][0]["complaint"]
    assert decision.sampler["phase"]["trials"] == 5


def test_a_plan_for_ranges_without_untried_points_is_refused() -> None:
    choices = replace(SPACE, dimensions=(SPACE["train.packing"], SPACE["train.schedule"]))
    recipe = replace(RECIPE_TRIAL, coordinates={"train.packing": True, "train.schedule": "cosine"})
    stuck = {**WIDE, "ranges": {"train.packing": [True], "train.schedule": ["cosine"]}, "trials": 1}
    free = {**WIDE, "ranges": {"train.packing": [True]}, "trials": 1}
    with serving(plans(stuck, free)) as server:
        decision = algorithms.build("hybrid", replace(setup(server.url), space=choices)).decide([recipe])
    assert "the points of these ranges that have not been tried" in decision.sampler["refused"][0]["complaint"]
    assert decision.coordinates == {"train.packing": True, "train.schedule": "linear"}


def test_an_endpoint_that_fails_between_two_phases_stops_the_search() -> None:
    replies = iter([json.dumps({**WIDE, "trials": 2})])
    with serving(lambda _: next(replies, (500, b"gone", {}))) as server:
        seen: list[int] = []
        with pytest.raises(BlockedError, match="answered 500: gone"):
            run("hybrid", setup(server.url), lambda trials: seen.append(len(trials)))
    assert seen == [2, 3]


@pytest.mark.slow
def test_every_sampler_that_is_offered_can_fill_a_phase() -> None:
    for name in hybrid.phase_samplers():
        with serving(plans({**WIDE, "sampler": name, "trials": 6})) as server:
            trials = run("hybrid", replace(setup(server.url), max_trials=7))
        assert len(trials) == 7
        assert f"hybrid, {name}" in {trial.origin for trial in trials}
