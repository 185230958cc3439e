import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_simulator import LEARNING_RATE, RANK, RECIPE, SCHEDULE, SPACE, FakeDimension, FakeSpace, Simulator

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms import Setup, points
from tao_skill_bank.automl.plan.history import Done, Start, Trial, TrialState
from tao_skill_bank.errors import RequestError, UnknownNameError

LANGUAGE = {"llm", "hybrid", "autoresearch"}  # need an endpoint; tested by themselves
SLOW = {"bfbo"}  # begins a process for every proposal
OFFERED = [name for name, info in algorithms.INFO.items() if not info.refused and name not in LANGUAGE | SLOW]

SETUP = Setup(SPACE, seed=3, max_trials=14, max_epochs=9, min_epochs=1, eta=3, parallel=3)
GRID = replace(SETUP, space=FakeSpace((LEARNING_RATE, RANK, SCHEDULE)))


def setup_of(name: str) -> Setup:
    """Return a set-up that fits: a grid over all six parameters would not."""
    return GRID if name == "grid" else SETUP


def simulator(name: str, setup: Setup, **more: object) -> Simulator:
    return Simulator(algorithms.build(name, setup), setup, algorithms.recipe_until(name, setup), **more)


@pytest.mark.parametrize("name", OFFERED)
def test_a_search_ends_with_all_its_trials_and_never_repeats_a_point(name: str) -> None:
    trials = simulator(name, setup_of(name)).run()
    fresh = [trial for trial in trials if trial.parent is None]
    assert len({points.key(SPACE, trial.coordinates) for trial in fresh}) == len(fresh)
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PAUSED) for trial in trials)
    assert any(trial.state is TrialState.COMPLETE for trial in trials)


@pytest.mark.parametrize("name", OFFERED)
def test_every_point_lies_in_the_space_and_no_forbidden_choice_is_made(name: str) -> None:
    space = setup_of(name).space
    for trial in simulator(name, setup_of(name)).run()[1:]:
        assert set(trial.coordinates) == {dimension.name for dimension in space.dimensions}
        for dimension in space.dimensions:
            coordinate = trial.coordinates[dimension.name]
            if dimension.kind == "choice":
                assert coordinate in [choice for choice, _ in points.options(dimension)]
            else:
                assert dimension.low <= coordinate <= dimension.high
                assert isinstance(coordinate, float if dimension.kind in points.REAL else int)


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFERED)
@settings(max_examples=8, deadline=None)
@given(order=st.integers(0, 10_000), parallel=st.integers(1, 5), failing=st.sets(st.integers(0, 13), max_size=6))
def test_the_same_trials_give_the_same_decisions_from_a_new_object(
    name: str, order: int, parallel: int, failing: set[int]
) -> None:
    setup = replace(setup_of(name), parallel=parallel)

    class Twice:
        """Asks two objects, the second of which has seen nothing before."""

        def decide(self, trials):
            first = algorithms.build(name, setup).decide(trials)
            assert algorithms.build(name, setup).decide(list(trials)) == first
            return first

    until = algorithms.recipe_until(name, setup)
    trials = Simulator(Twice(), setup, until, failing=failing.__contains__).run(order)
    assert all(trial.state is TrialState.FAILED for trial in trials if trial.number in failing and trial.scores == {})


@pytest.mark.parametrize("name", OFFERED)
def test_a_search_in_which_every_trial_fails_ends(name: str) -> None:
    trials = simulator(name, setup_of(name), failing=set(range(SETUP.max_trials)).__contains__).run()
    assert all(trial.state is TrialState.FAILED for trial in trials)


@pytest.mark.parametrize("name", OFFERED)
def test_the_seed_decides(name: str) -> None:
    started = [simulator(name, replace(setup_of(name), seed=seed)).run()[-1].coordinates for seed in (1, 1, 2)]
    assert started[0] == started[1]
    assert started[0] != started[2] or name == "grid"


@pytest.mark.parametrize("name", [name for name in OFFERED if name != "pbt"])
def test_a_small_space_is_left_when_every_point_has_been_tried(name: str) -> None:
    space = FakeSpace((FakeDimension("lora.r", "power", 2, 4), FakeDimension("p", "choice", choices=(True, False))))
    setup = replace(SETUP, space=space, max_trials=30)
    search = simulator(name, setup, recipe={"lora.r": 3, "p": True}, score=lambda point, at: point["lora.r"] / at)
    trials = search.run()
    assert {points.key(space, trial.coordinates) for trial in trials} == {
        points.key(space, point) for point in points.every_point(space)
    }
    assert len(trials) == 6
    assert "every point" in search.done.reason


@pytest.mark.parametrize("name", ["bayesian", "tpe", "random", "grid"])
def test_metric_and_cost_are_weighed_together(name: str) -> None:
    trials = simulator(name, replace(setup_of(name), objectives=("metric", "cost"))).run()
    assert len(trials) == SETUP.max_trials or name == "grid"


def test_cost_draws_the_search_to_cheap_trials() -> None:
    space = FakeSpace((FakeDimension("x", "float", 0.0, 1.0),))
    setup = Setup(space, max_trials=80, objectives=("metric", "cost"))
    algorithm = algorithms.build("bayesian", setup)
    trials = [Trial(0, {"x": 0.5}, TrialState.COMPLETE, {1: 1.0}, gpu_hours=0.5)]
    while isinstance(decision := algorithm.decide(trials), Start):
        x = decision.coordinates["x"]
        trials.append(Trial(len(trials), {"x": x}, TrialState.COMPLETE, {1: 1.0}, gpu_hours=x))
    assert sum(trial.gpu_hours for trial in trials[-20:]) < 0.7 * sum(trial.gpu_hours for trial in trials[:20])


def test_an_algorithm_that_knows_one_objective_refuses_two() -> None:
    with pytest.raises(RequestError, match="cannot weigh metric against cost"):
        algorithms.build("asha", replace(SETUP, objectives=("metric", "cost")))


def test_a_grid_that_does_not_fit_says_how_many_trials_it_needs() -> None:
    with pytest.raises(RequestError, match="64 points at least, more than the 14 trials"):
        algorithms.build("grid", SETUP)


def test_a_grid_has_both_ends_of_every_range_and_as_many_levels_as_fit() -> None:
    setup = replace(GRID, max_trials=20)
    trials = simulator("grid", setup).run()[1:]
    assert len({trial.coordinates["train.lr"] for trial in trials}) == 3
    assert {1e-6, 1e-4} < {trial.coordinates["train.lr"] for trial in trials}
    assert {trial.coordinates["lora.r"] for trial in trials} == {2, 4, 7}
    assert {trial.coordinates["train.schedule"] for trial in trials} == {"cosine", "linear"}


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as error:
        algorithms.build("bayes", SETUP)
    assert error.value.problems[0].fix == "Did you mean 'bayesian'?"


@pytest.mark.parametrize("name", [name for name, info in algorithms.INFO.items() if info.refused])
def test_a_refused_algorithm_says_why(name: str) -> None:
    with pytest.raises(RequestError) as error:
        algorithms.build(name, SETUP)
    assert algorithms.INFO[name].refused in error.value.problems[0].message


@pytest.mark.parametrize("name", ["bayesian", "tpe", "random", "grid", "cmaes"])
def test_parallel_proposals_differ(name: str) -> None:
    algorithm = algorithms.build(name, replace(SETUP, max_trials=80, parallel=8))
    rng = random.Random(0)
    trials = [
        Trial(number, points.random_point(SPACE, rng), TrialState.COMPLETE, {9: rng.random()}) for number in range(20)
    ]
    trials.insert(0, Trial(0, RECIPE, TrialState.COMPLETE, {9: 0.5}))
    trials = [replace(trial, number=number) for number, trial in enumerate(trials)]
    for _ in range(8):
        decision = algorithm.decide(trials)
        assert isinstance(decision, Start)
        trials.append(Trial(len(trials), decision.coordinates, TrialState.RUNNING, sampler=decision.sampler))
    learning_rates = [trial.coordinates["train.lr"] for trial in trials[-8:]]
    assert len(set(learning_rates)) == 8 or name == "grid"
    assert not isinstance(algorithm.decide(trials), Start | Done)
