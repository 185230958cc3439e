import copy
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.contracts import DatasetPaths, PlatformRequest, Request
from tao_skill_bank.core import nested
from tao_skill_bank.errors import Problem, RequestError
from tao_skill_bank.models.cosmos_reason.workload import describe
from tao_skill_bank.spec import build as spec

DATASETS = {"train": "/data/train", "eval": "/data/val"}
BUILTIN = {"policy.model_name_or_path": "builtin://tiny-cosmos-reason"}
# The public bank's recommended train overrides.
RECOMMENDED = {
    "policy": {
        "model_name_or_path": "hf_model://nvidia/Cosmos-Reason2-8B",
        "model_max_length": 81920,
        "parallelism": {"dp_shard_size": 4, "dp_replicate_size": 1},
        "lora": {"lora_alpha": 256, "r": 16, "lora_dropout": 0.05},
    },
    "train": {
        "epoch": 1,
        "train_batch_per_replica": 32,
        "optm_lr": 2e-5,
        "optm_impl": "fused",
        "deterministic": True,
        "sync_weight_interval": 1,
        "ckpt": {"save_freq_in_epoch": 1, "max_keep": 1},
        "train_policy": {
            "type": "sft",
            "mini_batch": 1,
            "dataset": {"test_size": 0},
            "dataloader_num_workers": 4,
            "dataloader_prefetch_factor": 4,
        },
    },
    "validation": {"freq_in_epoch": 1, "batch_size": 1, "enable_dataset_cache": False, "dataset": {"name": "x"}},
    "custom": {"system_prompt": "You are a helpful assistant."},
    "logging": {"logger": ["console", "tao"]},
    "redis": "12800",
}


def build(action: str = "train", **fields: Any) -> spec.Spec:
    if action == "train":
        fields.setdefault("datasets", DATASETS)
    skill = catalog.find("tao-finetune-cosmos-reason")
    return spec.build(skill, Request(skill=skill.name, action=action, **fields))


def problems(action: str = "train", **fields: Any) -> list[Problem]:
    with pytest.raises(RequestError) as caught:
        build(action, **fields)
    return list(caught.value.problems)


def test_the_recommended_overrides_of_the_public_bank_are_accepted() -> None:
    built = build(overrides=RECOMMENDED)
    assert nested.get(built.values, "policy.lora.lora_alpha") == 256
    ignored = sorted(finding.path for finding in built.findings if finding.code == "ignored_parameter")
    assert ignored == ["redis", "train.sync_weight_interval", "validation.dataset.name"]
    assert "redis" not in built.values


def test_dotted_nested_and_mixed_overrides_mean_the_same() -> None:
    dotted = build(overrides={"policy.lora.r": 16, "train.ckpt.max_keep": 2})
    mixed = build(overrides={"policy": {"lora.r": 16}, "train": {"ckpt": {"max_keep": 2}}})
    assert dotted.values == mixed.values
    assert not any("." in key for key in dotted.values)


def test_shorthand_keys_are_paths_and_explicit_overrides_win_over_them() -> None:
    built = build(overrides={"num_epochs": 2, "learning_rate": 1e-4, "train.epoch": 5})
    assert nested.get(built.values, "train.epoch") == 5
    assert nested.get(built.values, "train.optm_lr") == 1e-4


def test_leaves_of_the_validation_dataset_are_valid_though_absent_from_the_template() -> None:
    overrides = {"custom.val_dataset.annotation_path": "/v/a.json", "custom.val_dataset.media_path": "/v"}
    built = build(datasets={"train": "/data/train"}, overrides=overrides)
    assert built.values["custom"]["val_dataset"] == {"annotation_path": "/v/a.json", "media_path": "/v"}


def test_root_mode_and_direct_mode_fill_the_spec_keys() -> None:
    direct = DatasetPaths(annotation_path="/ann/train.json", media_path="/media/videos.tar.gz")
    built = build(datasets={"train": direct, "eval": "/data/val"})
    assert built.values["custom"]["train_dataset"] == {
        "annotation_path": "/ann/train.json",
        "media_path": "/media/videos.tar.gz",
    }
    assert built.values["custom"]["val_dataset"] == {
        "annotation_path": "/data/val/annotations.json",
        "media_path": "/data/val",
    }


@pytest.mark.parametrize(("action", "role"), [("train", "train"), ("evaluate", "eval"), ("quantize", "calibration")])
def test_data_sources_are_mandatory_for_every_action_that_reads_them(action: str, role: str) -> None:
    found = problems(action, datasets={}, overrides={"validation.enable": False} if action == "train" else {})
    assert [problem.code for problem in found] == ["missing_dataset"]
    assert f"datasets.{role}" in found[0].fix


def test_every_problem_of_a_request_is_reported_in_one_pass() -> None:
    overrides = {
        "train.epcoh": 3,
        "train.train_batch_per_replica": 30,
        "policy.lora.r": 0,
        "train.optm_decay_type": "cosin",
        "policy.model_max_length": 1000,
        "train.train_policy.type": "grpo",
    }
    found = {problem.path: problem for problem in problems(overrides=overrides, datasets={"train": "/d"})}
    assert set(found) == {*overrides, "custom.val_dataset"}
    assert "Did you mean train.epoch?" in found["train.epcoh"].message
    assert found["train.train_batch_per_replica"].fix.startswith("Set train.train_batch_per_replica to 28 or 32;")
    assert "40960" in found["policy.model_max_length"].fix
    assert found["policy.lora.r"].got == 0
    assert all(problem.fix for problem in found.values())


def test_a_rule_that_reads_an_invalid_value_stays_silent() -> None:
    found = problems(overrides={"train.train_batch_per_replica": "many"})
    assert [problem.path for problem in found] == ["train.train_batch_per_replica"]


def test_setting_nframes_drops_the_default_fps() -> None:
    assert build(overrides={"custom.vision.nframes": 8}).values["custom"]["vision"] == {
        "nframes": 8,
        "total_pixels": 3136000,
    }


def test_fps_and_nframes_together_are_refused() -> None:
    found = problems(overrides={"custom.vision.nframes": 8, "custom.vision.fps": 2})
    assert [problem.code for problem in found] == ["not_exactly_one"]


def test_null_deletes_a_key_and_deleting_an_unknown_key_is_an_error() -> None:
    assert "lora" not in build(overrides={"policy.lora": None}).values["policy"]
    assert problems(overrides={"policy.lorra": None})[0].expected == "policy.lora"


@pytest.mark.parametrize(("overrides", "learning_rate"), [({}, 2e-5), ({"policy.lora": None}, 1e-6)])
def test_an_unset_learning_rate_follows_the_recipe_of_the_mode(overrides: dict[str, Any], learning_rate: float) -> None:
    built = build(overrides=overrides)
    assert nested.get(built.values, "train.optm_lr") == learning_rate
    assert "recipe_applied" in [finding.code for finding in built.findings]


def test_a_given_learning_rate_is_kept() -> None:
    assert nested.get(build(overrides={"train.optm_lr": 3e-4}).values, "train.optm_lr") == 3e-4


def test_true_is_taken_where_an_enum_has_the_word_and_whole_floats_where_an_integer_is_wanted() -> None:
    built = build(overrides={"train.fsdp_reshard_after_forward": True, "train.epoch": 2.0})
    assert nested.get(built.values, "train.fsdp_reshard_after_forward") == "true"
    assert type(nested.get(built.values, "train.epoch")) is int


def test_a_bare_hub_id_becomes_a_hub_uri_with_a_finding() -> None:
    built = build(overrides={"policy.model_name_or_path": "nvidia/Cosmos-Reason2-8B@refs/pr/1"})
    assert nested.get(built.values, "policy.model_name_or_path") == "hf_model://nvidia/Cosmos-Reason2-8B@refs/pr/1"
    assert "hub_model" in [finding.code for finding in built.findings]


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("builtin://huge", "unknown_builtin"),
        ("hf_model://one", "invalid_hub_id"),
        ("ftp://a/b", "unknown_model_scheme"),
    ],
)
def test_a_model_name_that_means_nothing_is_refused(uri: str, code: str) -> None:
    assert problems(overrides={"policy.model_name_or_path": uri})[0].code == code


def test_the_context_rule_is_for_real_models_only() -> None:
    short = {"policy.model_max_length": 2048}
    assert build(overrides=BUILTIN | short)
    assert problems(overrides=short)[0].code == "context_too_short_for_video"


def test_platform_counts_fill_the_spec_and_a_contradiction_is_refused() -> None:
    built = build(platform=PlatformRequest(gpus=4, nodes=2))
    assert nested.get(built.values, "policy.parallelism.dp_shard_size") == 4
    assert nested.get(built.values, "policy.parallelism.dp_replicate_size") == 2
    found = problems(platform=PlatformRequest(gpus=4), overrides={"policy.parallelism.dp_shard_size": 2})
    assert found[0].code == "process_count_conflict"


def test_a_secret_is_refused_and_its_value_is_never_repeated() -> None:
    token = "hf_" + "Q7" * 12
    found = problems(overrides={"custom.system_prompt": token, "logging.api_key": "hunter2"})
    assert {problem.code for problem in found} >= {"secret_in_request"}
    assert token not in repr(found)
    assert "hunter2" not in repr(found)


def test_what_a_parent_lacks_is_deleted_and_overrides_win_over_what_it_has() -> None:
    skill = catalog.find("tao-finetune-cosmos-reason")
    request = Request(
        skill.name, "train", datasets=DATASETS, overrides={"policy.model_name_or_path": "builtin://tiny-cosmos-reason"}
    )
    built = spec.build(skill, request, {"policy.lora": None, "policy.model_name_or_path": "/other"})
    assert "lora" not in built.values["policy"]
    assert built.values["policy"]["model_name_or_path"] == "builtin://tiny-cosmos-reason"


def test_an_override_replaces_what_a_parent_gave_in_the_same_exclusive_group() -> None:
    skill = catalog.find("tao-finetune-cosmos-reason")
    request = Request(skill.name, "inference", overrides={"media": "/a.mp4", "prompt": "?", "num_frames": 4})
    values = spec.build(skill, request, {"fps": 2.0, "num_frames": None}).values
    assert (values["num_frames"], "fps" in values) == (4, False)


@pytest.mark.parametrize("path", ["train.epoch", "train.ckpt", "policy", "policy.parallelism", "validation", "train"])
def test_deleting_what_the_trainer_needs_sets_it_back_to_its_default(path: str) -> None:
    default = catalog.find("cosmos-rl").schema("train")["default"]
    built = build(overrides={"train.train_policy.mini_batch": 2, path: None})
    if path != "train":
        assert nested.get(built.values, "train.train_policy.mini_batch") == 2
    assert nested.get(built.values, path).keys() == nested.get(default, path).keys() if path != "train.epoch" else True
    assert nested.get(built.values, "train.epoch") == default["train"]["epoch"]


@pytest.mark.parametrize("path", ["train", "custom.vision", "custom", "policy.lora"])
@pytest.mark.parametrize("value", [0, True, "x", [1]])
def test_a_value_where_a_group_belongs_is_one_clear_error(path: str, value: Any) -> None:
    assert [(problem.code, problem.path) for problem in problems(overrides={path: value})] == [("invalid_type", path)]


def outcome(skill: catalog.Skill, request: Request) -> spec.Spec | tuple[Problem, ...]:
    try:
        return spec.build(skill, request)
    except RequestError as error:
        return error.problems


@pytest.mark.parametrize("action", ["train", "evaluate", "quantize", "inference", "export"])
@pytest.mark.parametrize("value", [None, 0, "x", [], {}, True, -1.5])
def test_no_value_of_any_key_is_more_than_a_request_error(action: str, value: Any) -> None:
    skill = catalog.find("cosmos-rl")
    needed = {"inference": {"media": "/a.mp4", "prompt": "?"}, "export": {"model_path": "/m"}}.get(action, {})
    datasets = dict.fromkeys(skill.info.data_sources.get(action, {}), "/data")
    for path, _ in schemas.parameters(skill.schema(action)):
        request = Request(skill.name, action, datasets=datasets, overrides={**needed, path: value})
        found = outcome(skill, request)
        if isinstance(found, spec.Spec):
            assert describe(action, found.values) is not None
        else:
            assert all(problem.message and problem.fix for problem in found)


def test_a_relative_checkpoint_to_resume_from_becomes_absolute() -> None:
    built = build(overrides={"train.resume": "runs/a/checkpoints/epoch_1"})
    assert Path(nested.get(built.values, "train.resume")).is_absolute()
    assert nested.get(build(overrides={"train.resume": True}).values, "train.resume") is True


def test_an_adapter_needs_its_base() -> None:
    found = problems("evaluate", datasets={"eval": "/d"}, overrides={"model.enable_lora": True})
    assert found[0].path == "model.base_model_path"


def test_building_never_edits_the_request_or_the_packaged_template() -> None:
    overrides: dict[str, Any] = {"policy": {"lora": {"r": 4}}}
    before = copy.deepcopy(overrides)
    first = build(overrides=overrides).values
    assert overrides == before
    assert build(overrides=overrides).values == first


def test_an_unknown_dataset_role_and_a_file_as_root_are_named() -> None:
    found = problems(datasets={"train": "/data/a.json", "evall": "/data/val"}, overrides={"validation.enable": False})
    assert {problem.code for problem in found} == {"dataset_is_a_file", "unknown_dataset"}
    assert "Did you mean 'eval'?" in next(problem.message for problem in found if problem.code == "unknown_dataset")


@pytest.mark.parametrize("size", ["tp_size", "cp_size", "pp_size"])
def test_a_parallelism_that_is_not_there_is_refused_with_its_reason(size: str) -> None:
    (problem,) = problems(overrides={f"policy.parallelism.{size}": 2})
    assert problem.expected == "integer 1"
    assert "only 1:" in problem.message
    assert problem.fix == f"Set policy.parallelism.{size} to integer 1."


@pytest.mark.parametrize(
    ("overrides", "limit"),
    [
        ({"evaluation": {"limit": 6}, "limit": 3}, 3),
        ({"evaluation.limit": 3, "limit": 5}, 5),
        ({"limit": 5, "evaluation.limit": 3}, 3),
    ],
)
def test_the_later_of_two_spellings_of_a_parameter_wins(overrides: dict[str, Any], limit: int) -> None:
    skill = catalog.find("tao-finetune-cosmos-reason")
    data = {"dataset.annotation_path": "/a.json", "dataset.media_dir": "/media"}
    built = spec.build(skill, Request(skill.name, "evaluate", overrides={**data, **overrides}))
    assert built.values["evaluation"]["limit"] == limit
