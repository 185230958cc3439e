from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_simulator import RECIPE, SPACE, Simulator

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms import Setup
from tao_skill_bank.automl.plan.algorithms.rungs import BohbSampler, EarlyStop, Hyperband, ranked
from tao_skill_bank.automl.plan.algorithms.samplers import RandomSampler
from tao_skill_bank.automl.plan.history import Promote, Start, Trial, TrialState, Wait

SETUP = Setup(SPACE, max_trials=27, max_epochs=9, min_epochs=1, eta=3, parallel=4)


def paused(number: int, *scores: float) -> Trial:
    return Trial(number, RECIPE, TrialState.PAUSED, dict(enumerate(scores, start=1)), until=len(scores))


@pytest.mark.parametrize(
    ("lowest", "highest", "eta", "rungs"),
    [
        (1, 9, 3, (1, 3, 9)),
        (1, 10, 3, (1, 3, 10)),
        (1, 8, 3, (1, 3, 8)),
        (2, 3, 3, (3,)),
        (1, 1, 3, (1,)),
        (1, 8, 2, (1, 2, 4, 8)),
        (3, 2, 3, (2,)),
    ],
)
def test_rungs_end_at_the_last_epoch(lowest: int, highest: int, eta: int, rungs: tuple[int, ...]) -> None:
    assert Setup(SPACE, min_epochs=lowest, max_epochs=highest, eta=eta).rungs == rungs


def test_asha_promotes_as_soon_as_a_trial_is_in_the_best_third() -> None:
    asha = algorithms.build("asha", SETUP)
    trials = [paused(0, 0.5), paused(1, 0.4)]
    assert isinstance(asha.decide(trials), Start)
    assert asha.decide([*trials, paused(2, 0.6)]) == Promote(1, 3)


def test_asha_promotes_from_the_highest_rung_first() -> None:
    asha = algorithms.build("asha", SETUP)
    trials = [paused(0, 5, 3, 2.9), paused(1, 4, 3, 2.8), paused(2, 3, 2, 2.7), *(paused(n, 9.0) for n in range(3, 12))]
    assert asha.decide(trials) == Promote(2, 9)


def test_asha_does_not_count_a_failed_trial_as_a_score() -> None:
    asha = algorithms.build("asha", SETUP)
    failed = replace(paused(2, 0.0), state=TrialState.FAILED)
    assert isinstance(asha.decide([paused(0, 0.5), paused(1, 0.4), failed]), Start)


def test_asha_waits_for_running_trials_before_it_sends_on_the_last_one() -> None:
    asha = algorithms.build("asha", replace(SETUP, max_trials=2))
    running = Trial(1, RECIPE, TrialState.RUNNING, until=1)
    assert asha.decide([paused(0, 0.5), running]) == Wait()
    assert asha.decide([paused(0, 0.5), paused(1, 0.4)]) == Promote(1, 3)


def test_a_recipe_that_trained_to_its_end_counts_at_every_rung() -> None:
    asha = algorithms.build("asha", SETUP)
    recipe = Trial(0, RECIPE, TrialState.COMPLETE, dict.fromkeys(range(1, 10), 0.1))
    assert isinstance(asha.decide([recipe, paused(1, 0.5), paused(2, 0.4)]), Start)
    assert asha.decide([recipe, *(paused(number, number) for number in range(1, 6))]) == Promote(1, 3)


def test_hyperband_cuts_a_cohort_only_when_all_of_it_has_reported() -> None:
    hyperband = algorithms.build("hyperband", SETUP)
    cohort = [paused(number, float(number)) for number in range(9)]
    assert isinstance(hyperband.decide(cohort[:8]), Start)
    waiting = [*cohort[:8], Trial(8, RECIPE, TrialState.RUNNING, until=1)]
    begun = hyperband.decide(waiting)
    assert isinstance(begun, Start)
    assert begun.until == 3
    assert hyperband.decide(cohort) == Promote(0, 3)


def test_hyperband_brackets_have_the_sizes_of_the_paper() -> None:
    setup = Setup(SPACE, max_trials=206, max_epochs=81, min_epochs=1, eta=3)
    brackets = list(Hyperband(setup, RandomSampler()).brackets(206))
    assert [len(bracket.numbers) for bracket in brackets[:5]] == [81, 34, 15, 8, 5]
    assert [bracket.rungs[0] for bracket in brackets[:5]] == [1, 3, 9, 27, 81]


def test_the_worse_half_and_a_flat_curve_are_stopped_early_and_the_recipe_never() -> None:
    early_stop = EarlyStop(keep=0.5, min_gain=0.01)
    trials = [paused(0, 9, 9, 9), paused(1, 0.5, 0.5, 0.499), paused(2, 0.9, 0.8, 0.7), paused(3, 1.0, 0.9, 0.8)]
    assert [early_stop.stops(trial, trials, (1, 3, 9), 0) for trial in trials] == [False, False, False, True]
    assert [early_stop.stops(trial, trials, (1, 3, 9), 1) for trial in trials] == [False, True, False, True]


def test_early_stops_let_long_trials_pause_at_every_rung() -> None:
    """The second cohort of Hyperband begins with three epochs, the third with nine."""
    setup = replace(SETUP, max_trials=17, parallel=1)
    epochs = {}
    for name in ("hyperband", "hyperband_es"):
        trials = Simulator(algorithms.build(name, setup), setup, 1).run()
        epochs[name] = sum(max(trial.scores) for trial in trials)
        assert any(max(trial.scores) == 1 for trial in trials[9:]) is (name == "hyperband_es")
    assert epochs["hyperband_es"] < 0.8 * epochs["hyperband"]


def test_bohb_learns_from_the_longest_trainings_of_which_there_are_enough() -> None:
    """At one epoch a high learning rate looks better; at nine a low one is."""
    point = {**RECIPE}
    trials = []
    for number in range(30):
        lr = 10 ** (-6 + 2 * (number % 10) / 9)
        scores = {1: 1 - lr} if number < 20 else {1: 1 - lr, 9: lr}
        state = TrialState.PAUSED if number < 20 else TrialState.COMPLETE
        trials.append(Trial(number, {**point, "train.lr": lr}, state, scores, until=max(scores)))
    proposals = [BohbSampler().propose(SETUP, trials, SETUP.random(attempt)) for attempt in range(40)]
    modelled = [float(proposal.point["train.lr"]) for proposal in proposals if proposal.origin == "bohb"]
    assert 15 < len(modelled) < 38
    assert sum(lr < 1e-5 for lr in modelled) > 0.8 * len(modelled)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asha", "hyperband", "hyperband_es", "bohb"])
@settings(max_examples=15, deadline=None)
@given(
    order=st.integers(0, 10_000),
    parallel=st.integers(1, 6),
    max_trials=st.integers(1, 30),
    failing=st.sets(st.integers(0, 29), max_size=5),
)
def test_no_trial_is_lost_and_the_best_at_a_rung_reach_the_next(
    name: str, order: int, parallel: int, max_trials: int, failing: set[int]
) -> None:
    setup = replace(SETUP, parallel=parallel, max_trials=max_trials)
    search = Simulator(algorithms.build(name, setup), setup, 1, failing=failing.__contains__)
    trials = search.run(order)
    assert [trial.number for trial in trials] == list(range(max_trials))
    assert all(max(trial.scores) in setup.rungs for trial in trials if trial.state is not TrialState.FAILED)
    assert sum(max(trial.scores, default=0) for trial in trials) < max_trials * setup.max_epochs or max_trials < 6
    if len(failing) < max_trials and name != "hyperband_es":
        assert any(trial.state is TrialState.COMPLETE for trial in trials) or failing
    if name == "asha" and not failing:
        for rung in setup.rungs[:-1]:
            assert max(ranked(trials, rung)[0].scores) > rung
