import pytest
from search_trials import add_recipe, add_trial, make_search

from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.run import value_study

pytestmark = [
    pytest.mark.usefixtures("third_skill"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]


def test_trials_have_the_values_of_their_specs_and_not_their_coordinates(tmp_path):
    search = make_search(tmp_path / "run")
    add_recipe(search, 0.9)
    add_trial(search, 3e-3, 5, 0.5)
    study = value_study.build(search, search.storage.entries())
    recipe, other = study.trials
    assert recipe.params == {"optm_lr": 1e-3, "r": 8, "optm_decay_type": "linear", "lora_alpha": 16}
    assert other.params == {"optm_lr": 3e-3, "r": 32, "optm_decay_type": "cosine", "lora_alpha": 64}
    assert all(other.distributions[name].log for name in ("optm_lr", "r", "lora_alpha"))


def test_a_recipe_outside_of_the_space_widens_it(tmp_path):
    search = make_search(tmp_path / "run", {"lora.r": 12}, ranges={"lora.r": {"minimum": 16}}, parameters=["lora.r"])
    add_recipe(search, 0.9)
    study = value_study.build(search, search.storage.entries())
    assert study.trials[0].params == {"r": 12}
    assert study.trials[0].distributions["r"].low == 12


def test_a_recipe_without_a_number_has_no_such_parameter(tmp_path):
    search = make_search(tmp_path / "run")
    add_recipe(search, 0.9)
    search.plan.job.spec["lora"]["r"] = None
    add_trial(search, 3e-3, 5, 0.5)
    recipe, other = value_study.build(search, search.storage.entries()).trials
    assert "r" not in recipe.params
    assert other.params["r"] == 32


def test_states_are_optunas_and_a_failed_trial_has_no_value(tmp_path):
    search = make_search(tmp_path / "run", algorithm="asha", max_epochs=4)
    add_recipe(search, 0.9, state=TrialState.PAUSED)
    add_trial(search, 3e-3, 5, 0.5, state=TrialState.FAILED)
    add_trial(search, 3e-3, 5, 0.7, 0.6, state=TrialState.PRUNED)
    add_trial(search, 3e-3, 4, state=TrialState.RUNNING)
    study = value_study.build(search, search.storage.entries())
    assert [trial.state.name for trial in study.trials] == ["RUNNING", "FAIL", "PRUNED", "RUNNING"]
    assert study.trials[1].value is None
    assert study.trials[2].intermediate_values == {1: 0.7, 2: 0.6}


def test_names_that_end_alike_stay_whole():
    names = value_study.short_names(["policy.lora.r", "train.lr", "validation.lr"])
    assert names == {"policy.lora.r": "r", "train.lr": "train.lr", "validation.lr": "validation.lr"}
