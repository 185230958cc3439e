import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import hostile
import pytest
from search_simulator import RECIPE, SPACE, FakeDimension, FakeSpace, Simulator, curve

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms import Setup, points, samplers
from tao_skill_bank.automl.plan.history import Trial, TrialState
from tao_skill_bank.errors import BlockedError

SETUP = Setup(SPACE, max_trials=60)


def history(count: int) -> list[Trial]:
    rng = SETUP.random("history")
    found = [points.random_point(SPACE, rng) for _ in range(count)]
    return [Trial(at, point, TrialState.COMPLETE, {9: curve(point, 9)}) for at, point in enumerate(found)]


@pytest.mark.parametrize("sampler", [samplers.RandomSampler(), samplers.TpeSampler(), samplers.CmaesSampler()])
def test_choices_are_drawn_by_their_weights_before_anything_is_known(sampler: samplers.Sampler) -> None:
    space = FakeSpace(
        (FakeDimension("x", "float", 0.0, 1.0), FakeDimension("c", "choice", choices="abc", weights=(8.0, 2.0, 0.0)))
    )
    setup = Setup(space)
    recipe = Trial(0, {"x": 0.5, "c": "a"}, TrialState.RUNNING)
    drawn = Counter(sampler.propose(setup, [recipe], setup.random(at)).point["c"] for at in range(200))
    assert 140 < drawn["a"] < 180
    assert drawn["c"] == 0


def test_a_logarithmic_range_is_drawn_in_its_logarithm() -> None:
    dimension = FakeDimension("lr", "float", 1e-6, 1e-2, log=True)
    rng = SETUP.random()
    drawn = [points.random_point(FakeSpace((dimension,)), rng)["lr"] for _ in range(400)]
    assert 150 < sum(value < 1e-4 for value in drawn) < 250


@pytest.mark.parametrize("sampler", [samplers.TpeSampler(), samplers.TpeSampler("tpe", multivariate=False)])
def test_the_parzen_estimator_goes_where_it_was_good(sampler: samplers.TpeSampler) -> None:
    rates = [float(sampler.propose(SETUP, history(40), SETUP.random(at)).point["train.lr"]) for at in range(30)]
    assert sum(8e-6 < rate < 5e-5 for rate in rates) > 20


def test_a_failed_trial_teaches_nothing() -> None:
    trials = history(30)
    failed = [replace(trial, state=TrialState.FAILED, scores={9: -1.0}, number=30 + trial.number) for trial in trials]
    proposals = [
        samplers.TpeSampler().propose(SETUP, seen, SETUP.random(1)).point for seen in (trials, trials + failed)
    ]
    assert proposals[0] == proposals[1]


@pytest.mark.slow
def test_covariance_adaptation_carries_its_state_with_the_trials() -> None:
    setup = replace(SETUP, max_trials=60)
    trials = Simulator(algorithms.build("cmaes", setup), setup, None).run()
    generations = [trial.sampler["cma:generation"] for trial in trials if "cma:generation" in trial.sampler]
    assert generations == sorted(generations)
    assert generations[-1] >= 5
    late = [abs(curve(trial.coordinates, 9)) for trial in trials[-15:]]
    early = [abs(curve(trial.coordinates, 9)) for trial in trials[1:16]]
    assert sum(late) < sum(early)


def test_a_point_that_a_sampler_repeats_is_replaced_by_an_untried_one() -> None:
    class Stubborn:
        def propose(self, *_seen):
            return samplers.Proposal(dict(RECIPE), "stubborn")

    proposal = samplers.untried_proposal(Stubborn(), SETUP, [Trial(0, RECIPE, TrialState.RUNNING)])
    assert proposal.origin == "random"
    assert proposal.point != RECIPE


def test_a_short_search_begins_to_learn_sooner() -> None:
    assert [samplers.startup(replace(SETUP, max_trials=trials)) for trials in (6, 12, 20, 60)] == [4, 4, 6, 10]


@pytest.mark.slow
def test_covariance_adaptation_reads_no_state_that_asks_for_code(tmp_path: Path) -> None:
    setup = replace(SETUP, max_trials=60)
    trials = Simulator(algorithms.build("cmaes", setup), setup, None).run()
    at = next(trial.number for trial in trials if "cma:optimizer:0" in trial.sampler)
    state = pickle.dumps(hostile.Hostile(tmp_path / "mark")).hex()
    trials[at] = replace(trials[at], sampler={"cma:optimizer:0": state[:40], "cma:optimizer:1": state[40:]})
    with pytest.raises(BlockedError, match=f"trial {at} .* it asks for {hostile.NAME}") as caught:
        samplers.CmaesSampler().propose(setup, trials, setup.random(60))
    assert caught.value.problems[0].code == "sampler_state_refused"
    trials[at] = replace(trials[at], sampler={"cma:optimizer:1": state})  # a part is missing
    with pytest.raises(BlockedError, match="is refused"):
        samplers.CmaesSampler().propose(setup, trials, setup.random(60))
    assert not (tmp_path / "mark").exists()
