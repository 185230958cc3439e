"""A language model that proposes every point, through the decide loop."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from chat_server import serving
from language_search import (
    RECIPE_TRIAL,
    SPACE,
    VALUES,
    ended,
    neighbour_of_the_best,
    point_reply,
    question,
    run,
    setup,
    trials_of,
)
from search_simulator import Simulator

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms import language, points
from tao_skill_bank.automl.plan.history import Done, Start, Trial, TrialState, Wait
from tao_skill_bank.errors import BlockedError

pytest.importorskip("openai")
FAILED = Trial(
    1,
    {**RECIPE_TRIAL.coordinates, "train.lr": 9e-5},
    TrialState.FAILED,
    origin="llm",
    gpu_hours=0.1,
    diagnosis="diverged: the loss became NaN in\n/home/me/run/log, hf_abcdefghijklmnopqrstuvwxyz",
)


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.slow
def test_a_model_that_climbs_searches_to_the_end_and_beats_the_recipe() -> None:
    with serving(neighbour_of_the_best) as server:
        trials = run("llm", setup(server.url))
        ended_by = algorithms.build("llm", setup(server.url)).decide(trials)
    assert len(trials) == 12
    assert isinstance(ended_by, Done)
    assert {trial.origin for trial in trials[1:]} == {"llm"}
    assert len({points.key(SPACE, trial.coordinates) for trial in trials}) == 12
    assert min(trial.score for trial in trials[1:]) < trials[0].score - 0.02
    assert trials[1].sampler["rationale"] == "next to trial 0"
    assert len(server.requests) == 11, "asked once for every new trial"
    assert language.tokens(trials) == {"requests": 11, "prompt": 0, "completion": 0}


@pytest.mark.parametrize("name", ["llm", "autoresearch"])
def test_trials_run_side_by_side_end_in_any_order_and_may_fail(name: str) -> None:
    with serving(neighbour_of_the_best) as server:
        built_from = replace(setup(server.url, attempts=30), parallel=3, max_epochs=4)
        search = Simulator(
            algorithms.build(name, built_from), built_from, None, failing=lambda number: number in (3, 5)
        )
        trials = search.run(order=7)
    assert len(trials) == 12
    assert len({points.key(SPACE, trial.coordinates) for trial in trials}) == 12
    assert [trial.number for trial in trials if trial.state is TrialState.FAILED] == [3, 5]
    assert all(trial.origin == name for trial in trials[1:])


def test_the_question_tells_the_space_the_history_and_the_metric() -> None:
    options = {
        "metric": {"name": "val/accuracy", "direction": "maximize"},
        "descriptions": {"train.lr": "Peak learning\n rate."},
    }
    with serving(lambda _: point_reply()) as server:
        algorithms.build("llm", setup(server.url, **options)).decide([RECIPE_TRIAL, FAILED])
    asked = question(server.requests[0]["body"])
    assert "val/accuracy (maximize it, shown with its sign changed); lower scores are better" in asked
    assert "- train.lr: a number from 1e-06 to 0.0001, best seen on a logarithmic scale. Peak learning rate." in asked
    assert "trial 2" in asked
    assert "10 trials are left" in asked
    recipe, failed = trials_of(server.requests[0]["body"])
    assert recipe["values"]["lora.r"] == 16
    assert recipe["score_by_epoch"] == {"1": 0.9, "2": 0.5}
    assert failed["failure"] == "diverged: the loss became NaN in [path], [redacted]"
    assert failed["score"] is None


def test_a_pinned_value_is_neither_sent_nor_accepted() -> None:
    pinned = replace(SPACE, dimensions=(SPACE["train.lr"],), pinned={"train.schedule": "linear"})
    values = {"train.lr": 2e-5}
    with serving(lambda _: json.dumps({"values": values, "rationale": "why"})) as server:
        decision = algorithms.build("llm", replace(setup(server.url), space=pinned)).decide([RECIPE_TRIAL])
    assert trials_of(server.requests[0]["body"])[0]["values"] == {"train.lr": 1e-5}
    assert decision.coordinates == values


def test_of_a_long_search_the_best_and_the_newest_trials_are_sent() -> None:
    trials = [replace(RECIPE_TRIAL, number=number, scores={1: 1000.0 - number}) for number in range(200)]
    with serving(lambda _: point_reply()) as server:
        algorithms.build("llm", replace(setup(server.url), max_trials=300)).decide(trials)
    sent = [trial["trial"] for trial in trials_of(server.requests[0]["body"])]
    assert sent == list(range(100, 200))


def test_a_point_that_was_tried_is_refused_with_the_number_of_its_trial() -> None:
    replies = iter([point_reply(), point_reply(train__lr=3e-5)])
    with serving(lambda _: next(replies)) as server:
        search = algorithms.build("llm", setup(server.url))
        tried = Trial(1, SPACE.coordinates(VALUES), TrialState.RUNNING, origin="llm")
        decision = search.decide([RECIPE_TRIAL, replace(tried, state=TrialState.COMPLETE)])
    assert decision.coordinates["train.lr"] == 3e-5
    assert decision.sampler["refused"][0]["complaint"] == "Trial 1 has these values already. Propose others."


def test_the_model_is_not_asked_when_nothing_may_begin() -> None:
    running = replace(RECIPE_TRIAL, state=TrialState.RUNNING)
    with serving(lambda _: point_reply()) as server:
        base = setup(server.url)
        assert isinstance(algorithms.build("llm", base).decide([running]), Wait)
        assert isinstance(algorithms.build("llm", replace(base, max_trials=1)).decide([RECIPE_TRIAL]), Done)
        packing = replace(SPACE, dimensions=(SPACE["train.packing"],))
        both = [replace(RECIPE_TRIAL, coordinates={"train.packing": value}) for value in (True, False)]
        assert isinstance(algorithms.build("llm", replace(base, space=packing)).decide(both), Done)
    assert server.requests == []


@pytest.mark.parametrize("name", ["llm", "hybrid", "autoresearch"])
def test_a_named_fallback_proposes_and_every_trial_says_so(name: str) -> None:
    with serving(lambda _: (500, b"out of memory", {})) as server:
        trials = run(name, replace(setup(server.url, fallback="bayesian"), max_trials=7))
        with pytest.raises(BlockedError):
            run(name, setup(server.url))
    assert len(trials) == 7
    for trial in trials[1:]:
        sampler, _, reason = trial.origin.partition(", because the endpoint failed: ")
        assert sampler in ("random", "bayesian")
        assert "answered 500: out of memory" in reason
        assert trial.sampler["tokens"]["requests"] == 1
    assert trials[-1].origin.startswith("bayesian, ")


def test_the_fallback_also_replaces_unusable_answers_and_the_model_is_asked_again_after() -> None:
    replies = iter(["nonsense", "nonsense", point_reply()])
    with serving(lambda _: next(replies)) as server:
        search = algorithms.build("llm", setup(server.url, fallback="random", attempts=2))
        first = ended(search.decide([RECIPE_TRIAL]), 1)
        second = search.decide([RECIPE_TRIAL, first])
    assert first.origin.startswith("random, because the endpoint failed: ")
    assert [entry["reply"] for entry in first.sampler["refused"]] == ["nonsense", "nonsense"]
    assert second.origin == "llm"


@pytest.mark.parametrize("fallback", ["asha", "llm", "none"])
def test_a_fallback_that_cannot_replace_the_model_is_refused(fallback: str) -> None:
    with pytest.raises(Exception, match=f"'{fallback}' cannot replace") as caught:
        algorithms.build("llm", setup("http://127.0.0.1:1/v1", fallback=fallback))
    assert "bayesian" in caught.value.problems[0].fix


def experiment(trials: list[Trial], *replies: str, **options: object) -> tuple[Start | Done, str]:
    script: Iterator[str] = iter(replies)
    with serving(lambda _: next(script)) as server:
        decision = algorithms.build("autoresearch", setup(server.url, **options)).decide(trials)
    assert isinstance(decision, (Start, Done))
    return decision, question(server.requests[0]["body"]) if server.requests else ""


def test_an_experiment_next_to_a_failed_one_is_not_run() -> None:
    near = {**SPACE.values(FAILED.coordinates), "train.lr": 8e-5}
    decision, _ = experiment(
        [RECIPE_TRIAL, FAILED], json.dumps({"values": near, "rationale": "Faster."}), point_reply("Slower.")
    )
    complaint = decision.sampler["refused"][0]["complaint"]
    assert complaint.startswith("That is next to trial 1, which failed or was pruned (diverged: ")
    assert decision.sampler["rationale"] == "Slower."


def test_an_experiment_has_to_have_a_reason() -> None:
    decision, _ = experiment([RECIPE_TRIAL], point_reply(" "), point_reply("Because."))
    assert decision.sampler["refused"][0]["complaint"] == "'rationale' is empty."
    assert decision.sampler["rationale"] == "Because."


def test_an_experiment_that_does_not_fit_the_hours_left_is_not_run() -> None:
    cheap_point = {**RECIPE_TRIAL.coordinates, "lora.r": 2, "train.schedule": "linear"}
    cheap = replace(RECIPE_TRIAL, number=1, coordinates=cheap_point, gpu_hours=0.1)
    cheap_values = {**SPACE.values(cheap_point), "train.lr": 2e-5}
    dear = {**SPACE.values(RECIPE_TRIAL.coordinates), "train.lr": 2e-5}
    replies = [json.dumps({"values": values, "rationale": "Try."}) for values in (dear, cheap_values)]
    decision, asked = experiment([RECIPE_TRIAL, cheap], *replies, max_gpu_hours=0.9)
    assert "10 trials and 0.3 GPU hours" in asked
    assert decision.sampler["refused"][0]["complaint"] == (
        "Trial 0, the nearest one, took 0.5 GPU hours, and 0.3 are left. Propose a cheaper one."
    )
    assert decision.coordinates["lora.r"] == 2
    spent, asked = experiment([RECIPE_TRIAL, cheap], max_gpu_hours=0.65)
    assert isinstance(spent, Done)
    assert asked == ""


def test_trials_are_kept_only_when_they_are_better_by_more_than_noise() -> None:
    scores = [0.5, 0.499, 0.45, 0.46]
    trials = [replace(RECIPE_TRIAL, number=number, scores={1: score}) for number, score in enumerate(scores)]
    trials.append(replace(FAILED, number=4))
    trials.append(replace(RECIPE_TRIAL, number=5, state=TrialState.RUNNING, scores={1: 0.1}))
    verdicts = language.verdicts(trials, noise=0.005)
    assert [(verdict.number, verdict.is_kept) for verdict in verdicts] == [
        (0, True),
        (1, False),
        (2, True),
        (3, False),
        (4, False),
    ]
    assert str(verdicts[1]) == "discarded: 0.499 is not below the 0.5 of trial 0 by more than 0.005"
    assert str(verdicts[4]).startswith("discarded: diverged: the loss became NaN")


def test_a_verdict_is_sent_and_stored_once_with_the_trial_after() -> None:
    first, _ = experiment([RECIPE_TRIAL], point_reply())
    assert first.sampler["verdicts"] == {"0": "kept: 0.5 is the first score"}
    trial = replace(ended(first, 1), scores={1: 0.497})
    second, asked = experiment([RECIPE_TRIAL, trial], point_reply(train__lr=3e-5))
    assert "The configuration to improve on: trial 0." in asked
    assert "- trial 1: discarded: 0.497 is not below the 0.5 of trial 0 by more than 0.005" in asked
    assert list(second.sampler["verdicts"]) == ["1"]
    third, asked = experiment(
        [RECIPE_TRIAL, trial, replace(ended(second, 2), scores={1: 0.4})], point_reply(lora__r=64)
    )
    assert "The configuration to improve on: trial 2." in asked
    assert third.sampler["kept"] == 2


def test_the_noise_of_the_request_decides() -> None:
    trial = replace(RECIPE_TRIAL, number=1, coordinates=SPACE.coordinates(VALUES), scores={1: 0.49})
    assert "Scores that differ" in experiment([RECIPE_TRIAL, trial], point_reply(lora__r=64))[1]
    for noise, kept in ((0.001, "trial 1"), (0.02, "trial 0")):
        _, asked = experiment([RECIPE_TRIAL, trial], point_reply(lora__r=64), noise=noise)
        assert f"The configuration to improve on: {kept}." in asked


@pytest.mark.slow
def test_experiments_go_on_to_the_end_of_the_search() -> None:
    with serving(neighbour_of_the_best) as server:
        trials = run("autoresearch", setup(server.url))
    assert len(trials) == 12
    assert all(trial.sampler["rationale"] for trial in trials[1:])
    recorded = [int(number) for trial in trials[1:] for number in trial.sampler["verdicts"]]
    assert recorded == list(range(11))
    assert language.verdicts(trials, 0.005)[-1].number == 11
