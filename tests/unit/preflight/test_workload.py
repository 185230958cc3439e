import copy

import pytest

from tao_skill_bank.models.cosmos_reason.workload import describe

SPEC = {
    "train": {
        "resume": False,
        "epoch": 10,
        "train_batch_per_replica": 2,
        "train_policy": {"conversation_column_name": "c", "mini_batch": 1, "dataset": {"test_size": 0.1}},
        "ckpt": {"max_keep": 8, "enable_checkpoint": True, "save_freq_in_epoch": 3},
        "fp8": {"enable_fp8": False},
    },
    "policy": {
        "model_name_or_path": "m",
        "model_max_length": 64,
        "parallelism": {"dp_shard_size": 1, "dp_replicate_size": 1},
    },
    "custom": {"train_dataset": {"annotation_path": "a", "media_path": "m"}, "vision": {}},
    "validation": {"enable": True},
}


@pytest.fixture
def spec():
    return copy.deepcopy(SPEC)


def test_the_training_set_is_split_only_when_the_run_validates(spec):
    assert describe("train", spec).validation_split == 0.1
    spec["validation"]["enable"] = False
    assert describe("train", spec).validation_split == 0


def test_the_last_epoch_is_a_save_too(spec):
    assert describe("train", spec).num_saves == 4


def test_a_training_that_stops_early_runs_and_saves_up_to_there(spec):
    spec["train"]["stop_epoch"] = 5
    found = describe("train", spec)
    assert (found.epochs, found.scheduled_epochs, found.num_saves) == (5, 10, 2)  # epoch 3, and the stop


@pytest.mark.parametrize(
    ("asked", "resume", "folder"), [(False, False, None), (True, True, None), ("/r/epoch_2", True, "/r/epoch_2")]
)
def test_resuming_is_told_with_the_folder_where_it_is_named(spec, asked, resume, folder):
    spec["train"]["resume"] = asked
    workload = describe("train", spec)
    assert (workload.resume, workload.resume_from) == (resume, folder)


def test_training_in_fp8_needs_a_gpu_that_computes_in_it(spec):
    assert describe("train", spec).hardware is None
    spec["train"]["fp8"]["enable_fp8"] = True
    need = describe("train", spec).hardware
    assert (need.architecture, need.required, need.computes) == (89, True, True)
    assert "train.fp8.enable_fp8=false" in need.fix


QUANTIZE = {
    "model": {"model_path": "m", "enable_lora": False, "base_model_path": ""},
    "calibration_dataset": {"annotation_path": "a", "media_dir": "m"},
    "quantize": {
        "quantization_scheme": "W4A16",
        "kv_precision": "bf16",
        "max_sequence_length": 64,
        "for_another_machine": False,
    },
    "vision": {"nframes": 4},
}


def quantized(scheme, kv="bf16", **options):
    spec = copy.deepcopy(QUANTIZE)
    spec["quantize"] |= {"quantization_scheme": scheme, "kv_precision": kv, **options}
    return describe("quantize", spec)


@pytest.mark.parametrize(
    ("scheme", "kv", "architecture", "words"),
    [
        ("W8A8", "bf16", 75, ""),
        ("W4A16", "bf16", 80, "quantization_scheme to W8A8"),
        ("W8A16", "bf16", 80, "quantization_scheme to W8A8"),
        ("FP8", "bf16", 89, "W8A8 or W4A16 or W8A16."),
        ("FP8_DYNAMIC", "fp8", 89, "W8A8 or W4A16 or W8A16 with quantize.kv_precision=bf16."),
        ("W4A16", "fp8", 89, "set quantize.kv_precision=bf16."),
        ("NVFP4", "fp8", 100, "or FP8 or FP8_DYNAMIC."),
    ],
)
def test_a_scheme_names_the_oldest_gpu_that_computes_in_it_and_its_alternatives(scheme, kv, architecture, words):
    need = quantized(scheme, kv).hardware
    assert (need.architecture, need.required) == (architecture, True)
    assert words in need.fix


def test_a_checkpoint_for_another_machine_needs_nothing_of_this_one():
    assert not quantized("NVFP4", for_another_machine=True).hardware.required


def test_quantize_reads_held_out_data_where_the_spec_has_it():
    assert [use.role for use in quantized("W4A16").inputs] == ["calibration"]
    spec = {**QUANTIZE, "dataset": {"annotation_path": "b", "media_dir": "n"}}
    uses = describe("quantize", spec).inputs
    assert [(use.role, use.paths["media_path"]) for use in uses] == [("calibration", "m"), ("eval", "n")]
    assert describe("quantize", spec).num_frames == 4
