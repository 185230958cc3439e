"""The AutoML route of both model skills with their real trainers; the search itself has no code that names either."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.core import nested
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.models.cosmos_predict import builtin
from tao_skill_bank.models.cosmos_predict.pretraining import Recipe, Stage
from tao_skill_bank.samples import robot

Call = Callable[..., tuple[int, dict[str, Any]]]

# The right structure and latents of about unit variance in seconds; its videos show nothing.
SHORT = Recipe(8, images=Stage(4, 2, 0.02, 4e-3), windows=Stage(1, 1, 0.02, 4e-3), transformer=Stage(4, 2, 0.03, 5e-3))
REASON = {
    "policy.lora": {"r": 4},
    "train.epoch": 1,
    "train.train_batch_per_replica": 4,
    "train.param_dtype": "float32",
    "train.train_policy.dataloader_num_workers": 0,
    "custom.vision.nframes": 4,
}
PREDICT = {
    "dataset": {"height": 48, "width": 80, "num_frames": 17},
    "train.epoch": 1,
    "train.batch_size": 2,
    "train.mixed_precision": "no",
    "train.first_loss_limit": 10.0,  # the pipeline is hardly trained
}


def options(values: dict[str, Any]) -> list[str]:
    return [word for path, value in values.items() for word in ("--set", f"{path}={json.dumps(value)}")]


@pytest.fixture(scope="session")
def reason() -> dict[str, Any]:
    """Overrides of a small training of the embedded model."""
    return {**REASON, "policy.model_name_or_path": "builtin://tiny-cosmos-reason"}


@pytest.fixture(scope="session")
def predict(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Overrides of a small training of the embedded pipeline, made with a few steps instead of all."""
    folder = tmp_path_factory.mktemp("models") / "tiny-cosmos-predict"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtin, "RECIPE", SHORT)
        builtin.create("tiny-cosmos-predict", folder)
    return {**PREDICT, "model.pretrained_model_name_or_path": str(folder)}


@pytest.fixture(scope="session")
def robot_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return robot.make(tmp_path_factory.mktemp("samples") / "robot", train=6, val=3, test=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("skill", "overrides", "sample"),
    [
        ("tao-finetune-cosmos-reason", "reason", "sample_data"),
        ("tao-finetune-cosmos-predict", "predict", "robot_data"),
    ],
)
def test_a_request_through_the_automl_route_trains_its_trials_and_hands_the_best_on(
    skill: str,
    overrides: str,
    sample: str,
    tmp_path: Path,
    command_line: Call,
    request: pytest.FixtureRequest,
) -> None:
    data, run = request.getfixturevalue(sample), tmp_path / "run"
    datasets = ("--train", data / "train", "--eval", data / "val")
    wanted = request.getfixturevalue(overrides)
    search = ("--automl", "max_trials=2", "--option", "device=cpu", "--results-dir", run)
    words = (skill, "train", *datasets, *options(wanted), *search)
    code, planned = command_line("plan", *words, "--say", "tune it", "--full")
    assert (code, planned["route"]["kind"], len(planned["study"]["first"])) == (0, "automl", 1)
    assert not run.exists()

    code, ended = command_line("run", *words)
    assert (code, ended["state"]) == (0, "COMPLETE"), ended["errors"]
    assert planned["study"]["space"] == json.loads((run / "plan.json").read_text())["study"]["space"]
    trials = sorted((run / "trials").iterdir())
    assert [trial.name for trial in trials] == ["trial_0000", "trial_0001"]
    for trial in trials:
        asked = json.loads((trial / "request.json").read_text())
        assert asked["datasets"] == {"train": str(data / "train"), "eval": str(data / "val")}
        assert (asked["automl_policy"], asked["results_dir"]) == ("off", str(trial))
        assert asked["platform"]["options"] == {"device": "cpu"}
        given = dict(nested.flatten(asked["overrides"]))
        assert {path: given.get(path) for path, _ in nested.flatten(wanted)} == dict(nested.flatten(wanted))
    summary = json.loads((run / "metrics_summary.json").read_text())["metrics"]
    assert summary["best_score"] <= summary["recipe_score"]
    assert (summary["trials"], summary["failed_trials"]) == (2, 0)
    has_gain = any(name.startswith("gain/") for name in summary)
    assert has_gain == (summary["best_trial"] != 0)

    code, again = command_line("plan", "--request", run / "best_request.yaml")
    assert (code, again["route"]["kind"]) == (0, "direct"), again["errors"]
    code, following = command_line("plan", skill, "export", "--parent", ended["job_id"], "--full")
    assert code == 0, following["errors"]
    assert str((run / "best_trial").resolve()) in json.dumps(following["spec"])


def test_a_metric_that_the_evaluation_does_not_compute_is_refused_before_anything_runs(
    sample_data: Path, reason: dict[str, Any], tmp_path: Path, command_line: Call
) -> None:
    data = ("--train", sample_data / "train", "--eval", sample_data / "val", *options(reason))
    search = ("--automl", "metric=evaluate:acuracy", "--automl", "direction=maximize", "--option", "device=cpu")
    words = ("tao-finetune-cosmos-reason", "train", *data, *search, "--results-dir", tmp_path / "run")
    code, document = command_line("run", *words)
    assert code == 2, document
    assert document["errors"][0]["code"] == "unknown_metric"
    assert "evaluate:accuracy" in json.dumps(document["errors"])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_population_goes_on_from_another_trials_checkpoint_with_a_changed_learning_rate(
    sample_data: Path, reason: dict[str, Any], tmp_path: Path, command_line: Call
) -> None:
    spec = {**reason, "train.epoch": 2, "train.train_policy.dataset.test_size": 4}
    search = [
        "algorithm=pbt",
        "max_trials=5",
        "parallel=2",
        "min_epochs=1",
        'parameters=["train.optm_lr"]',
        "repeats=0",
    ]
    words = ("--train", sample_data / "train", *options(spec), *(word for one in search for word in ("--automl", one)))
    words = ("tao-finetune-cosmos-reason", "train", *words, "--option", "device=cpu", "--results-dir", tmp_path / "run")
    code, document = command_line("run", *words)
    assert (code, document["state"]) == (0, "COMPLETE"), document["errors"]
    _, told = command_line("automl", "status", document["job_id"])
    (copy,) = (trial for trial in told["trials"] if trial["origin"] == "pbt")
    assert (copy["state"], list(copy["scores"])) == ("COMPLETE", ["2"])
    asked = json.loads((tmp_path / "run" / "trials" / f"trial_{copy['number']:04d}" / "request.json").read_text())
    parent = int(Path(asked["overrides"]["train.resume"]).parents[1].name.removeprefix("trial_"))
    assert told["trials"][parent]["values"] != copy["values"]


def test_a_search_without_validation_data_is_refused_before_any_trial(
    sample_data: Path, reason: dict[str, Any], tmp_path: Path, command_line: Call
) -> None:
    words = ("--train", sample_data / "train", *options({**reason, "validation.enable": False}))
    code, document = command_line(
        "run", "tao-finetune-cosmos-reason", "train", *words, "--results-dir", tmp_path / "run"
    )
    assert (code, [error["code"] for error in document["errors"]]) == (2, ["automl_needs_validation"])
    assert "--automl-policy off" in document["errors"][0]["fix"]
    assert not (tmp_path / "run").exists()
    assert not JobStore().all()


def test_the_same_clips_in_training_and_validation_block_a_search_and_not_a_training(
    sample_data: Path, reason: dict[str, Any], command_line: Call
) -> None:
    words = ("tao-finetune-cosmos-reason", "train", "--train", sample_data / "train", "--eval", sample_data / "train")
    words = (*words, *options(reason))
    code, document = command_line("plan", *words)
    assert (code, [error["code"] for error in document["errors"]]) == (3, ["train_eval_overlap"])
    assert command_line("plan", *words, "--say", "no HPO")[0] == 0
