import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_simulator import RECIPE, SPACE, Simulator

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms import Setup
from tao_skill_bank.automl.plan.algorithms.population import PopulationBasedTraining
from tao_skill_bank.automl.plan.history import Promote, Start, Trial, TrialState, Wait

SETUP = Setup(SPACE, max_trials=20, max_epochs=6, min_epochs=2, parallel=4, options={"population": 4})


def member(number: int, score: float, *, state: TrialState = TrialState.PAUSED, until: int = 2) -> Trial:
    scores = {} if state is TrialState.RUNNING else {1: 2.0, until: score}
    coordinates = {**RECIPE, "train.lr": 10 ** (-6 + 0.2 * number), "lora.r": 2 + number}
    return Trial(number, coordinates, state, scores, until=until)


def test_the_population_begins_before_anything_is_ranked() -> None:
    pbt = PopulationBasedTraining(SETUP)
    decision = pbt.decide([member(0, 0.1), member(1, 0.2)])
    assert isinstance(decision, Start)
    assert (decision.until, decision.parent) == (2, None)


def test_a_step_waits_for_its_last_member() -> None:
    trials = [member(0, 0.1), member(1, 0.2), member(2, 0.3), member(3, 0.4, state=TrialState.RUNNING)]
    assert PopulationBasedTraining(SETUP).decide(trials) == Wait()


def test_the_worst_goes_on_from_the_checkpoint_of_the_best_with_another_learning_rate_and_the_same_network() -> None:
    trials = [member(0, 0.4), member(1, 0.1), member(2, 0.3), member(3, 0.2)]
    copy = PopulationBasedTraining(SETUP).decide(trials)
    assert isinstance(copy, Start)
    assert (copy.parent, copy.until) == (1, 4)
    best = trials[1].coordinates
    assert 0.09 < abs(math.log10(copy.coordinates["train.lr"] / best["train.lr"])) < 0.31
    assert {name: at for name, at in copy.coordinates.items() if name != "train.lr"} == {
        name: at for name, at in best.items() if name != "train.lr"
    }


def test_a_copy_at_the_edge_of_a_range_moves_inwards() -> None:
    trials = [member(number, 0.4 - 0.1 * number) for number in range(4)]
    trials[3] = replace(trials[3], coordinates={**trials[3].coordinates, "train.lr": 1e-4})
    rates = {
        PopulationBasedTraining(replace(SETUP, seed=seed)).decide(trials).coordinates["train.lr"] for seed in range(8)
    }
    assert len(rates) == 8
    assert max(rates) < 1e-4


def test_a_copy_begins_before_its_parent_goes_on_and_the_worst_stays() -> None:
    pbt = PopulationBasedTraining(SETUP)
    trials = [member(0, 0.4), member(1, 0.1), member(2, 0.3), member(3, 0.2)]
    copy = pbt.decide(trials)
    trials.append(
        Trial(4, copy.coordinates, TrialState.RUNNING, until=4, parent=copy.parent, sampler=copy.sampler),
    )
    promoted = []
    while isinstance(decision := pbt.decide(trials), Promote):
        promoted.append(decision.number)
        trials[decision.number] = replace(trials[decision.number], state=TrialState.RUNNING, until=decision.until)
    assert promoted == [1, 3, 2]
    assert decision == Wait()


def test_a_member_that_failed_is_replaced_instead_of_the_worst() -> None:
    pbt = PopulationBasedTraining(SETUP)
    trials = [member(0, 0.4), member(1, 0.1), replace(member(2, 0.0), state=TrialState.FAILED), member(3, 0.2)]
    copy = pbt.decide(trials)
    assert copy.parent == 1
    trials.append(Trial(4, copy.coordinates, TrialState.RUNNING, until=4, sampler=copy.sampler))
    assert pbt.decide(trials) == Promote(1, 4)
    trials[1] = replace(trials[1], state=TrialState.RUNNING, until=4)
    trials[3] = replace(trials[3], state=TrialState.RUNNING, until=4)
    assert pbt.decide(trials) == Promote(0, 4)


def test_a_member_that_fails_later_does_not_reopen_an_earlier_step() -> None:
    pbt = PopulationBasedTraining(SETUP)
    loser = member(0, 0.4)
    failed = replace(member(1, 0.1), state=TrialState.FAILED, until=4)
    others = [replace(member(number, 0.2), scores={2: 0.2, 4: 0.1}, until=4) for number in (2, 3)]
    copy = Trial(4, RECIPE, TrialState.PAUSED, {3: 0.2, 4: 0.15}, until=4, parent=1, sampler={"born": 2})
    decision = pbt.decide([loser, failed, *others, copy])
    assert isinstance(decision, Start)
    assert decision.until == 6
    assert decision.parent in (2, 3)


def test_a_recipe_that_paused_before_the_first_step_catches_up() -> None:
    recipe = Trial(0, RECIPE, TrialState.PAUSED, {1: 0.5}, until=1)
    others = [member(number, 0.2) for number in (1, 2, 3)]
    assert PopulationBasedTraining(SETUP).decide([recipe, *others]) == Promote(0, 2)


@pytest.mark.parametrize(("max_trials", "max_epochs"), [(20, 50), (14, 9), (100, 9), (5, 3), (1, 9), (3, 2)])
def test_the_population_and_its_copies_fit_into_the_trials(max_trials: int, max_epochs: int) -> None:
    pbt = PopulationBasedTraining(Setup(SPACE, max_trials=max_trials, max_epochs=max_epochs))
    assert pbt.steps[-1] == max_epochs
    assert pbt.population >= min(4, max_trials)


@settings(max_examples=30, deadline=None)
@given(
    order=st.integers(0, 10_000),
    parallel=st.integers(1, 5),
    max_trials=st.integers(1, 25),
    failing=st.sets(st.integers(0, 24), max_size=6),
)
def test_every_survivor_trains_to_the_end(order: int, parallel: int, max_trials: int, failing: set[int]) -> None:
    setup = Setup(SPACE, max_trials=max_trials, max_epochs=6, parallel=parallel)
    algorithm = algorithms.build("pbt", setup)
    until = algorithms.recipe_until("pbt", setup)
    trials = Simulator(algorithm, setup, until, failing=failing.__contains__).run(order)
    for trial in trials:
        if trial.parent is not None:
            assert min(trial.scores, default=until + 1) > 1
            assert trials[trial.parent].number < trial.number
    if not failing:
        assert sum(trial.state is TrialState.COMPLETE for trial in trials) == algorithm.population
