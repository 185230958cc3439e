import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from runs import make_job, make_plan, make_record

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Request, Workload, to_json
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import parents

SKILL = catalog.find("tao-finetune-cosmos-reason")


@pytest.fixture
def parent(tmp_path: Path) -> Any:
    """A recorded training job on CPU with an empty run directory."""
    job = make_job(tmp_path / "parent")
    run = Path(job.results_dir)
    run.mkdir()
    (run / "plan.json").write_text(json.dumps(to_json(make_plan(job))))
    JobStore().create(make_record(job))
    return job


def checkpoint(parent: Any, name: str, *, kind: str = "safetensors", adapter: bool = False) -> Path:
    folder = Path(parent.results_dir) / kind / name
    folder.mkdir(parents=True)
    if kind == "checkpoints":
        (folder / ".metadata").write_bytes(b"m")
    else:
        (folder / ("adapter_config.json" if adapter else "config.json")).write_text("{}")
        (folder / ("adapter_model.safetensors" if adapter else "model.safetensors")).write_bytes(b"w")
    return folder


def inherit(parent: Any, action: str = "evaluate", **fields: Any) -> parents.Inheritance:
    return parents.inherit(SKILL, Request(SKILL.name, action, parent_job_id=parent.id, **fields))


def test_without_a_parent_nothing_is_inherited() -> None:
    assert parents.inherit(SKILL, Request(SKILL.name, "evaluate")) == parents.Inheritance()


def test_best_wins_over_the_newest_epoch_and_the_device_comes_along(parent: Any) -> None:
    checkpoint(parent, "epoch_9")
    best = checkpoint(parent, "", kind="best")
    (best / "config.json").write_text("{}")
    (best / "model.safetensors").write_bytes(b"w")
    found = inherit(parent)
    assert found.values["model.model_name"] == str(best)
    assert found.device == "cpu"


def test_the_newest_complete_epoch_is_taken_by_number(parent: Any) -> None:
    checkpoint(parent, "epoch_2")
    newest = checkpoint(parent, "epoch_10")
    unfinished = Path(parent.results_dir) / "safetensors" / "epoch_11"
    unfinished.mkdir()
    (unfinished / "config.json").write_text("{}")
    assert inherit(parent).values["model.model_name"] == str(newest)


def test_a_sharded_checkpoint_that_lacks_a_shard_is_not_complete(parent: Any) -> None:
    good = checkpoint(parent, "epoch_1")
    broken = checkpoint(parent, "epoch_2")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (broken / "model.safetensors.index.json").write_text(json.dumps(index))
    assert inherit(parent).values["model.model_name"] == str(good)


def test_an_adapter_brings_its_base_from_the_parents_plan(parent: Any) -> None:
    folder = checkpoint(parent, "epoch_1", adapter=True)
    assert inherit(parent, "inference").values == {
        "model_path": str(folder),
        "enable_lora": True,
        "base_model_path": "builtin://tiny-cosmos-reason",
        **{"fps": None, "num_frames": 8, "total_pixels": 65536, "system_prompt": "Be brief."},
    }


def test_an_evaluation_looks_at_clips_as_the_training_did(parent: Any) -> None:
    checkpoint(parent, "epoch_1")
    values = inherit(parent).values
    assert values["vision"] == {"nframes": 8, "total_pixels": 65536}
    assert values["dataset.system_prompt"] == "Be brief."


def test_a_parent_whose_run_directory_is_gone_is_named(parent: Any) -> None:
    (Path(parent.results_dir) / "plan.json").unlink()
    with pytest.raises(UnknownNameError, match="is gone"):
        inherit(parent)


def test_a_named_checkpoint_is_taken_and_an_absent_one_lists_what_there_is(parent: Any) -> None:
    named = checkpoint(parent, "epoch_4")
    checkpoint(parent, "epoch_5")
    assert inherit(parent, checkpoint="epoch_4").values["model.model_name"] == str(named)
    with pytest.raises(UnknownNameError) as caught:
        inherit(parent, checkpoint="epoch_7")
    assert "epoch_4, epoch_5" in caught.value.problems[0].fix


def test_training_resumes_from_the_parents_sharded_state(parent: Any) -> None:
    checkpoint(parent, "epoch_1", kind="checkpoints")
    state = checkpoint(parent, "epoch_2", kind="checkpoints")
    assert inherit(parent, "train").values == {
        "train.resume": str(state),
        "policy.model_name_or_path": "builtin://tiny-cosmos-reason",
        "policy.lora": None,
    }


def test_training_resumes_from_where_the_parent_was_interrupted(parent: Any) -> None:
    for name, step in (("epoch_2", 20), ("step_25", 25), ("step_7", 7)):
        folder = checkpoint(parent, name, kind="checkpoints")
        (folder / "progress.json").write_text(json.dumps({"epoch": 0, "step": step}))
    assert inherit(parent, "train").values["train.resume"].endswith("checkpoints/step_25")
    assert inherit(parent, "train", checkpoint="step_7").values["train.resume"].endswith("checkpoints/step_7")


def test_a_parent_without_checkpoints_and_an_unknown_parent_are_named(parent: Any) -> None:
    with pytest.raises(UnknownNameError, match="has no complete checkpoint"):
        inherit(parent)
    with pytest.raises(UnknownNameError):
        parents.inherit(SKILL, Request(SKILL.name, "evaluate", parent_job_id="cosmos-rl-train-ffffffffffff"))


@pytest.fixture
def quantization(parent: Any, tmp_path: Path) -> Any:
    """A recorded quantization with its checkpoint."""
    spec = {"vision": {"fps": 2.0, "total_pixels": 99_999}, "system_prompt": "Look."}
    changes = {"action": "quantize", "id": "cosmos-rl-quantize-0123456789ab", "spec": spec}
    job = make_job(tmp_path / "quantized", **changes, workload=Workload(model="builtin://tiny-cosmos-reason"))
    run = Path(job.results_dir)
    run.mkdir()
    (run / "plan.json").write_text(json.dumps(to_json(make_plan(job))))
    JobStore().create(make_record(job))
    return job


def test_a_quantization_hands_on_its_checkpoint_and_what_it_looked_at_clips_with(quantization: Any) -> None:
    folder = checkpoint(quantization, "quantized")
    assert inherit(quantization).values == {
        "model.model_name": str(folder),
        "vision": {"fps": 2.0, "total_pixels": 99_999},
        "dataset.system_prompt": "Look.",
    }
    assert inherit(quantization, "inference").values == {
        "model_path": str(folder),
        **{"fps": 2.0, "num_frames": None, "total_pixels": 99_999, "system_prompt": "Look."},
    }
    assert inherit(quantization, "inference", checkpoint="quantized").values["model_path"] == str(folder)


def test_a_training_starts_from_the_checkpoint_of_a_parent_that_did_not_train(quantization: Any) -> None:
    folder = checkpoint(quantization, "merged")
    assert inherit(quantization, "train").values == {"policy.model_name_or_path": str(folder)}


def test_an_unfinished_quantization_is_not_taken(quantization: Any) -> None:
    (checkpoint(quantization, "quantized") / "model.safetensors").unlink()
    with pytest.raises(UnknownNameError, match="has no complete checkpoint"):
        inherit(quantization)


@pytest.fixture
def searched(parent: Any, tmp_path: Path) -> Any:
    """A recorded search whose trials 0 and 1 trained with other adapters; nothing is handed on yet."""
    run = tmp_path / "search"
    job = make_job(run, id="cosmos-rl-train-5ea5c40123ab")
    run.mkdir()
    (run / "plan.json").write_text(json.dumps(to_json(replace(make_plan(job), study={"parallel": 1}))))
    JobStore().create(make_record(job))
    for number, rank in ((0, 8), (1, 32)):
        folder = run / "trials" / f"trial_{number:04d}"
        policy = {**job.spec["policy"], "lora": {"r": rank}}
        trial = make_job(folder, spec={**job.spec, "policy": policy})
        folder.mkdir(parents=True)
        (folder / "plan.json").write_text(json.dumps(to_json(make_plan(trial))))
        checkpoint(trial, "epoch_3", adapter=True)
        checkpoint(trial, "epoch_3", kind="checkpoints")
    return job


def hand_on(search: Any, number: int) -> Path:
    """Point a search's link at a trial, as its controller does."""
    run = Path(search.results_dir)
    (run / "best_trial").symlink_to(Path("trials", f"trial_{number:04d}"), target_is_directory=True)
    return run / "trials" / f"trial_{number:04d}"


@pytest.mark.parametrize(
    ("action", "model", "adapter", "base"),
    [
        ("evaluate", "model.model_name", "model.enable_lora", "model.base_model_path"),
        ("export", "model_path", "enable_lora", "base_model_path"),
        ("inference", "model_path", "enable_lora", "base_model_path"),
    ],
)
def test_a_search_hands_on_the_checkpoint_of_its_best_trial(
    searched: Any, action: str, model: str, adapter: str, base: str
) -> None:
    trial = hand_on(searched, 1)
    values = inherit(searched, action).values
    assert values[model] == str(trial / "safetensors" / "epoch_3")
    assert (values[adapter], values[base]) == (True, "builtin://tiny-cosmos-reason")


def test_a_training_goes_on_from_a_searchs_best_trial_with_the_adapters_of_that_trial(searched: Any) -> None:
    trial = hand_on(searched, 1)
    values = inherit(searched, "train").values
    assert values["train.resume"] == str(trial / "checkpoints" / "epoch_3")
    assert values["policy.lora"] == {"r": 32}


def test_the_best_checkpoint_of_the_best_trial_wins_and_another_one_can_be_named(searched: Any) -> None:
    trial = hand_on(searched, 0)
    earlier = trial / "safetensors" / "epoch_1"
    copytree(trial / "safetensors" / "epoch_3", earlier)
    (trial / "best").symlink_to(Path("safetensors", "epoch_1"), target_is_directory=True)
    assert inherit(searched).values["model.model_name"] == str(earlier)
    named = inherit(searched, checkpoint="epoch_3").values["model.model_name"]
    assert named == str(trial / "safetensors" / "epoch_3")


def test_a_search_without_a_best_trial_says_so_and_names_the_way_to_one_trial(searched: Any) -> None:
    with pytest.raises(UnknownNameError, match="has no best trial yet") as caught:
        inherit(searched)
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == ("no_best_trial", "parent_job_id")
    assert f"tao-skills automl status {searched.id}" in problem.fix
