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


@pytest.mark.parametrize(
    ("asked", "resume", "folder"), [(False, False, None), (True, True, None), ("/r/epoch_2", True, "/r/epoch_2")]
)
def test_resuming_is_told_with_the_folder_where_it_is_named(spec, asked, resume, folder):
    spec["train"]["resume"] = asked
    workload = describe("train", spec)
    assert (workload.resume, workload.resume_from) == (resume, folder)
