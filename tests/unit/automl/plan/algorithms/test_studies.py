import optuna
from search_simulator import RECIPE, SPACE, FakeDimension, FakeSpace

from tao_skill_bank.automl.plan.algorithms import Setup, studies
from tao_skill_bank.automl.plan.history import Trial, TrialState

SETUP = Setup(SPACE)


class Recorder(optuna.samplers.RandomSampler):
    """Keeps the trials that it was shown."""

    seen: list[optuna.trial.FrozenTrial]

    def before_trial(self, study, *_more) -> None:
        self.seen = study.get_trials()[:-1]


def shown(*trials: Trial, setup: Setup = SETUP) -> list[optuna.trial.FrozenTrial]:
    recorder = Recorder(seed=0)
    studies.ask(setup, trials, recorder)
    return recorder.seen


def test_states_and_scores_arrive_and_a_failed_trial_has_no_value() -> None:
    trials = shown(
        Trial(0, RECIPE, TrialState.COMPLETE, {1: 0.9, 2: 0.4, 3: 0.5}),
        Trial(1, RECIPE, TrialState.PAUSED, {1: 0.9, 2: 0.95}, until=2),
        Trial(2, RECIPE, TrialState.PRUNED, {1: 3.0}),
        Trial(3, RECIPE, TrialState.RUNNING, {1: 0.9}),
        Trial(4, RECIPE, TrialState.FAILED, {1: 0.0}),
        Trial(5, RECIPE, TrialState.COMPLETE),
    )
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "PRUNED", "RUNNING", "FAIL", "FAIL"]
    assert trials[0].value == 0.4
    assert trials[1].intermediate_values == {1: 0.9, 2: 0.9}
    assert trials[4].values is None
    assert trials[3].params["train.lr"] == RECIPE["train.lr"]


def test_a_recipe_outside_of_the_space_counts_at_its_edge_and_an_unknown_choice_not_at_all() -> None:
    outside = {**RECIPE, "train.lr": 1.0}
    unknown = {**RECIPE, "train.schedule": "constant"}
    trials = shown(Trial(0, outside, TrialState.COMPLETE, {1: 0.5}), Trial(1, unknown, TrialState.COMPLETE, {1: 0.1}))
    assert trials[0].params["train.lr"] == 1e-4
    assert trials[1].state.name == "FAIL"


def test_true_and_one_are_different_choices() -> None:
    space = FakeSpace((FakeDimension("mixed", "choice", choices=(1, True, "1")),))
    params = [studies.params(space, {"mixed": choice}) for choice in (1, True, "1")]
    assert params == [{"mixed": 0}, {"mixed": 1}, {"mixed": 2}]


def test_cost_is_the_second_value() -> None:
    setup = Setup(SPACE, objectives=("metric", "cost"))
    trials = shown(Trial(0, RECIPE, TrialState.COMPLETE, {1: 0.5}, gpu_hours=2.5), setup=setup)
    assert trials[0].values == [0.5, 2.5]
