"""What preflight is told that a spec will read, load and run."""

import json

import pytest
from pydantic import TypeAdapter

from tao_skill_bank.contracts import Input
from tao_skill_bank.models.cosmos_predict import config
from tao_skill_bank.models.cosmos_predict.workload import DESCRIBERS, describe


def spec(kind, **values):
    """Return a nested spec with every default, as the dispatcher hands it over."""
    adapter = TypeAdapter(kind)
    return adapter.dump_python(adapter.validate_json(json.dumps(values)), mode="json")


def train(**groups):
    groups["dataset"] = {"train_dir": "/t", "val_dir": "/v"} | groups.get("dataset", {})
    return describe("train", spec(config.TrainConfig, **groups))


def paths(workload, kind):
    return [given.paths["path"] for given in workload.inputs if given.kind == kind]


def test_every_action_is_described():
    assert set(DESCRIBERS) == {"prepare", "train", "generate", "evaluate", "export"}


def test_a_training_reads_both_folders_and_trains_an_adapter():
    found = train(train={"batch_size": 2, "gradient_accumulation_steps": 3, "num_gpus": 4, "num_nodes": 2, "epoch": 50})
    options = {
        "min_frames": 93,
        "frame_step": 4,
        "text_tokens": 480,
        "text_prefix": "",
        "frame_size": [432, 768],
        "size_keys": ["dataset.height", "dataset.width"],
        "size_multiple": 16,
        "keeps_aspect": False,
        "aspect_key": "dataset.aspect_buckets",
        "frames_per_second": 16.0,
        "rate_key": "dataset.fps",
    }
    assert found.inputs == (
        Input("train", "captioned_clips", {"path": "/t"}, options),
        Input("eval", "captioned_clips", {"path": "/v"}, options),
    )
    assert (found.trains, found.uses_adapter, found.resume, found.resume_from) == (True, True, False, None)
    assert (found.micro_batch, found.batch_per_rank, found.data_parallel_ranks) == (2, 6, 8)
    assert (found.epochs, found.num_frames, found.validation_split) == (50, 93, 0)
    assert (found.num_saves, found.max_checkpoints) == (3, 3)  # every 20 epochs, and the last


def test_a_training_that_stops_early_runs_and_saves_up_to_there():
    found = train(train={"epoch": 50, "stop_epoch": 30})
    assert (found.epochs, found.scheduled_epochs, found.num_saves) == (30, 50, 2)  # epoch 20, and the stop


@pytest.mark.parametrize(("enable", "split", "roles"), [(True, 0.1, ["train"]), (False, 0, ["train"])])
def test_the_training_set_is_split_only_when_the_run_validates(enable, split, roles):
    found = train(dataset={"val_dir": None, "test_size": 0.1}, validation={"enable": enable})
    assert found.validation_split == split
    assert list(found.roles) == roles
    assert train(validation={"enable": False}).roles == ("train",)


@pytest.mark.parametrize(
    ("asked", "resume", "folder"), [(False, False, None), (True, True, None), ("/r/epoch_2", True, "/r/epoch_2")]
)
def test_resuming_is_told_with_the_folder_where_it_is_named(asked, resume, folder):
    found = train(train={"resume": asked})
    assert (found.resume, found.resume_from) == (resume, folder)


def test_prepare_reads_its_source_as_it_will_be_read(tmp_path):
    (tmp_path / "pairs").mkdir()
    values = {"source": "/clips", "min_frames": 61, "caption_source": "csv", "skip_unusable": True}
    found = describe("prepare", spec(config.PrepareConfig, **values, test_source=str(tmp_path), test_folder="pairs"))
    assert found.inputs[0] == Input(
        "train",
        "captioned_clips",
        {"path": "/clips"},
        {
            "min_frames": 61,
            "frame_step": 4,
            "text_tokens": 480,
            "text_prefix": "The robot arm is performing a task. ",
            "nested": True,
            "captions": "csv",
            "caption_key": "prompt",
            "skips_unusable": True,
        },
    )
    assert paths(found, "prompt_pairs") == [str(tmp_path / "pairs")]
    hub = "hf_dataset://nvidia/EVAL-175"
    assert paths(describe("prepare", spec(config.PrepareConfig, test_source=hub)), "prompt_pairs") == [hub]
    assert paths(describe("prepare", spec(config.PrepareConfig)), "prompt_pairs") == []


def test_generate_names_its_adapters_prompts_and_media():
    adapter = {"path": "/a", "name": "one"}
    found = describe("generate", spec(config.GenerateConfig, inputs="/pairs", adapters=[adapter], num_gpus=2))
    assert (paths(found, "adapter"), paths(found, "prompt_pairs"), found.uses_adapter) == (["/a"], ["/pairs"], True)
    assert (found.data_parallel_ranks, paths(found, "media_file"), found.num_frames) == (2, [], None)
    single = describe("generate", spec(config.GenerateConfig, prompt="Move.", image="/first.png"))
    assert (paths(single, "media_file"), paths(single, "prompt_pairs")) == (["/first.png"], [])
    assert (single.inputs[0].options, single.uses_adapter) == ({"media": "image"}, False)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_generation_that_keeps_its_videos_goes_on_in_its_own_folder(keeps):
    assert describe("generate", spec(config.GenerateConfig, inputs="/pairs", skip_saved=keeps)).adds is keeps


def test_evaluate_loads_a_judge_where_it_is_a_checkpoint():
    values = {"generated_dir": "/g", "judge": {"model": "builtin://tiny-cosmos-reason"}}
    assert describe("evaluate", spec(config.EvaluateConfig, **values)).model == "builtin://tiny-cosmos-reason"
    assert describe("evaluate", spec(config.EvaluateConfig, generated_dir="/g")).model == ""


def test_evaluate_reads_the_results_of_a_generation_and_its_reference():
    found = describe("evaluate", spec(config.EvaluateConfig, generated_dir="/g", reference_dir="/r"))
    assert [(given.role, given.kind, given.paths) for given in found.inputs] == [
        ("generated", "job_results", {"path": "/g"}),
        ("reference", "clips", {"path": "/r"}),
    ]


def test_export_reads_one_adapter():
    assert paths(describe("export", spec(config.ExportConfig, adapter_path="/a")), "adapter") == ["/a"]
