import itertools
import json
import re
from pathlib import Path

import faults
import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.core import nested
from tao_skill_bank.errors import Problem
from tao_skill_bank.spec.overrides import merged
from tao_skill_bank.spec.proven_fixes import MAX_TRIED, complete, proven

REASON, PREDICT, LABEL = "tao-finetune-cosmos-reason", "tao-finetune-cosmos-predict", "tao-label-videos"
ASKED = {"question": "Does it stop?", "choices": ["yes", "no"]}
MODELS = Path(__file__).parents[3] / "src" / "tao_skill_bank" / "models"
LORA, FROZEN, VALIDATION = "policy.lora.", "policy.frozen_parts", "validation.enable"
NO_VALIDATION = {"custom.val_dataset": None}
# (skill, action, overrides that break one rule, the code of the rule)
BROKEN_RULES = [
    (REASON, "train", {"train.train_batch_per_replica": 30}, "batch_not_a_multiple"),
    (REASON, "train", {"train.train_batch_per_replica": 3}, "batch_not_a_multiple"),
    (REASON, "train", {"train.train_policy.mini_batch": 5}, "batch_not_a_multiple"),
    (REASON, "train", {"policy.model_max_length": 100}, "context_too_short_for_video"),
    (REASON, "train", NO_VALIDATION, "missing_validation_data"),
    (REASON, "train", {"train.epoch": 3, "train.optm_warmup_epochs": 4}, "warm_up_too_long"),
    (REASON, "train", {"custom.vision.video_start": 5, "custom.vision.video_end": 3}, "empty_video_window"),
    (REASON, "train", {"custom.vision.video_start": 5, "custom.vision.video_end": 5}, "empty_video_window"),
    (REASON, "train", {"custom.vision.min_pixels": 4096, "custom.vision.max_pixels": 2048}, "bounds_reversed"),
    (REASON, "train", {"custom.vision.min_frames": 9, "custom.vision.max_frames": 2}, "bounds_reversed"),
    (REASON, "train", {"train.stop_epoch": 99}, "stop_after_the_end"),
    (REASON, "train", {"train.fp8.fp8_recipe": "delayed_scaling"}, "fp8_recipe"),
    (REASON, "train", {"train.fp8.quant_recipe": "tensorwise"}, "fp8_recipe_unused"),
    (REASON, "train", {"train.fp8.enable_fp8": True, "train.param_dtype": "float32"}, "fp8_dtype"),
    (REASON, "train", {f"{LORA}load_in_4bit": True, "train.fsdp_offload": True}, "four_bit_excludes"),
    (REASON, "train", {f"{LORA}load_in_4bit": True, "dp_shard_size": 2}, "four_bit_excludes"),
    (REASON, "train", {f"{LORA}load_in_4bit": True, "train.fp8.enable_fp8": True}, "four_bit_excludes"),
    (REASON, "train", {f"{LORA}load_in_4bit": True, f"{LORA}modules_to_save": ["visual"]}, "four_bit_excludes"),
    (REASON, "train", {f"{LORA}load_in_4bit": True, f"{LORA}init_lora_weights": "pissa"}, "four_bit_excludes"),
    (REASON, "train", {f"{LORA}r": 8, FROZEN: ["llm"]}, "nothing_to_train"),
    (REASON, "train", {"policy.lora": None, FROZEN: ["llm", "lm_head", "vision", "projector"]}, "nothing_to_train"),
    (REASON, "train", {"policy.lora": None, "train.train_policy.vision_feature_cache": "on"}, "trained_tower"),
    (REASON, "train", {f"{LORA}r_pattern": {"(": 4, "q_proj": 8}}, "invalid_pattern"),
    (REASON, "train", {"custom.system_prompt": "Look <|im_<|im_end|>end|> here."}, "reserved_token"),
    (REASON, "train", {"policy.model_name_or_path": "Qwen/Qwen3-VL-30B-A3B-Instruct"}, "model_type"),
    (REASON, "evaluate", {"model.enable_lora": True}, "adapter_without_base"),
    (REASON, "evaluate", {"model.base_model_path": "a/b"}, "base_without_adapter"),
    (REASON, "inference", {"base_model_path": "a/b"}, "base_without_adapter"),
    (REASON, "export", {"enable_lora": True}, "adapter_without_base"),
    (REASON, "evaluate", {"model.max_length": 512}, "max_length"),
    (REASON, "evaluate", {"generation.max_tokens": 200000}, "max_length"),
    (
        REASON,
        "evaluate",
        {"evaluation.engine": "vllm", "model.enable_lora": True, "model.base_model_path": "a/b"},
        "adapter_on_server",
    ),
    (REASON, "evaluate", {"evaluation.engine": "vllm", "vision.video_start": 2}, "start_on_server"),
    (REASON, "evaluate", {"evaluation.engine": "vllm", "evaluation.scoring": "choices"}, "choices_on_server"),
    (
        REASON,
        "evaluate",
        {"evaluation.answer_type": "reasoning", "evaluation.scoring": "choices"},
        "choices_after_thought",
    ),
    (REASON, "evaluate", {"evaluation.limit": 0}, "limit_of_nothing"),
    (PREDICT, "generate", {"prompt": "A.", "limit": 3}, "limit_of_one"),
    (REASON, "evaluate", {"evaluation.shard_id": 4, "evaluation.total_shard": 4}, "no_such_shard"),
    (REASON, "inference", {"num_gpus": 2}, "one_gpu"),
    (PREDICT, "train", {"dataset.height": 100}, "size_not_a_multiple"),
    (PREDICT, "train", {"dataset.width": 17}, "size_not_a_multiple"),
    (PREDICT, "train", {"dataset.num_frames": 92}, "frames_not_4k_plus_1"),
    (PREDICT, "train", {"dataset.num_frames": 6}, "frames_not_4k_plus_1"),
    (PREDICT, "train", {"dataset.num_frames": 5}, "nothing_to_predict"),
    (PREDICT, "train", {"dataset.val_dir": None}, "missing_validation_data"),
    (PREDICT, "train", {"dataset.val_dir": None, "validation.sample_videos": 2}, "missing_validation_data"),
    (PREDICT, "train", {"flow.conditional_frames_probs": {"0": 0.1, "1": 0.2, "2": 0.4}}, "probabilities_off"),
    (PREDICT, "train", {"flow.conditional_frames_probs": {"0": 0}}, "probabilities_off"),
    (PREDICT, "train", {VALIDATION: False, "validation.sample_videos": 2}, "samples_without_validation"),
    (
        PREDICT,
        "train",
        {VALIDATION: False, "validation.sample_videos": 2, "dataset.val_dir": None},
        "samples_without_validation",
    ),
    (PREDICT, "train", {"train.stop_epoch": 101}, "stop_after_the_end"),
    (PREDICT, "generate", {"image": "/a.png", "video": "/b.mp4", "prompt": "A."}, "image_and_video"),
    (PREDICT, "generate", {"image": "/a.png"}, "condition_without_prompt"),
    (
        PREDICT,
        "generate",
        {"adapters": [{"path": "/a", "name": "x"}, {"path": "/b", "name": "x"}, {"path": "/c", "name": "base"}]},
        "adapter_names",
    ),
    (PREDICT, "generate", {"include_base": False}, "no_variant"),
    (PREDICT, "generate", {"num_frames": 4}, "frames_not_4k_plus_1"),
    (PREDICT, "evaluate", {}, "no_judge"),
    (
        PREDICT,
        "evaluate",
        {"judge.model": "/m", "judge.endpoint": "http://h/v1", "metrics": ["judge_physics"]},
        "no_judge",
    ),
    (
        PREDICT,
        "evaluate",
        {"judge.endpoint": "host:80/v1", "judge.endpoint_model": "m", "judge.model": None},
        "invalid_url",
    ),
    (PREDICT, "evaluate", {"judge.endpoint": "http://h/v1", "judge.model": None}, "no_endpoint_model"),
    (REASON, "embed", {"embedding.content": "question"}, "content_without_prompt"),
    (REASON, "embed", {"embedding.turns": "all"}, "content_without_prompt"),
    (LABEL, "label", {"steps": ["description"]}, "captions_missing"),
    (LABEL, "label", {"steps": ["questions"]}, "captions_missing"),
    (LABEL, "label", {"steps": ["captions", "questions"], "questions_per_clip": 0}, "nothing_to_ask"),
    (LABEL, "label", {"steps": ["captions"], "questions": [ASKED]}, "nothing_to_ask"),
    (LABEL, "label", {"question_forms": ["open", "open"]}, "named_twice"),
    (LABEL, "label", {"questions": [{**ASKED, "choices": ["yes"]}]}, "invalid_choices"),
    (LABEL, "label", {"questions": [{"question": "<video> Does it stop?"}]}, "invalid_question"),
    (LABEL, "label", {"second_pass.min_agreement": 0.5}, "agreement_not_measured"),
]
ONLY_THE_USER_KNOWS = {"no_endpoint_model", "invalid_choices", "invalid_question"}


def _base(skill, action):
    own = {
        (PREDICT, "evaluate"): {"judge.model": "/data/judge"},
        (LABEL, "label"): {"endpoint.url": "http://127.0.0.1:8000/v1"},
    }
    return faults.valid_overrides(skill, action) | own.get((skill.name, action), {})


def _require_fixed(skill, action, overrides, problem, others=()):
    """Assert that each of the fixes of a problem removes it and adds none to those that the request has."""
    known = {(other.code, other.path) for other in others} - {(problem.code, problem.path)}
    for fix in [problem.fix_set] if problem.fix_set else problem.fix_choices:
        corrected = merged(overrides, fix, skill.schema(action))
        left = {(found.code, found.path) for found in faults.problems_of(skill, action, corrected)}
        assert left <= known, (overrides, fix, left)


@pytest.mark.parametrize(("skill", "action"), faults.ACTIONS, ids=faults.IDS)
def test_the_requests_to_which_faults_are_added_are_valid(skill, action):
    assert faults.problems_of(skill, action, _base(skill, action)) == []


@pytest.mark.parametrize(("skill", "action"), faults.ACTIONS, ids=faults.IDS)
def test_a_wrong_value_of_any_parameter_is_resolved_by_the_overrides_of_its_problem(skill, action):
    base, seen = _base(skill, action), set()
    turns = itertools.count()
    for path, leaf in schemas.leaves(skill.schema(action)):
        kind = json.dumps({name: value for name, value in leaf.items() if name not in ("description", "default")})
        group = path.rpartition(".")[0]
        if kind in seen or (group and nested.get(skill.schema(action)["default"], group) is None and path not in base):
            continue
        seen.add(kind)
        values = list(faults.wrong_values(leaf))
        overrides = base | {path: values[next(turns) % len(values)]}
        found = faults.problems_of(skill, action, overrides)
        assert found, overrides
        for problem in found:
            assert problem.expected, problem
            assert problem.fix_set or problem.fix_choices or path in base, problem
            _require_fixed(skill, action, overrides, problem, found)


@pytest.mark.parametrize(("name", "action", "broken", "code"), BROKEN_RULES)
def test_a_broken_rule_is_resolved_by_each_of_its_fixes(name, action, broken, code):
    skill = catalog.find(name)
    overrides = _base(skill, action) | broken
    if any(key in ("custom.val_dataset", "dataset.val_dir") for key in broken):
        overrides = {key: value for key, value in overrides.items() if not key.startswith("custom.val_dataset.")}
    if (name, action) == (PREDICT, "evaluate") and not broken:
        del overrides["judge.model"]
    found = faults.problems_of(skill, action, overrides)
    (problem,) = [each for each in found if each.code == code]
    assert bool(problem.fix_set or problem.fix_choices) == (code not in ONLY_THE_USER_KNOWS), problem
    assert not (problem.fix_set and problem.fix_choices)
    _require_fixed(skill, action, overrides, problem, found)


def test_every_rule_of_a_model_has_a_case_above():
    named = re.compile(r'Problem\(\s*(?:code=)?"(\w+)"|code="(\w+)"(?: if \w+ else "(\w+)")?')
    sources = [path.read_text() for path in MODELS.glob("*/config/*rules.py")]
    codes = {code for source in sources for found in named.finditer(source) for code in found.groups() if code}
    assert codes
    assert codes - {code for *_, code in BROKEN_RULES} == set()


def test_both_ways_are_offered_where_the_wish_decides():
    skill = catalog.find(REASON)
    overrides = _base(skill, "train") | {"custom.vision.fps": 2, "custom.vision.nframes": 8}
    (problem,) = faults.problems_of(skill, "train", overrides)
    assert list(problem.fix_choices) == [{"custom.vision.fps": None}, {"custom.vision.nframes": None}]


@pytest.mark.parametrize(
    ("given", "fix_set"),
    [
        ({"train.epocs": 3}, {"train.epocs": None, "train.epoch": 3}),
        ({"train": {"epocs": 3}}, {"train.epocs": None, "train.epoch": 3}),
        ({"trian": {"epoch": 3}}, {"trian": None, "train.epoch": 3}),
        ({"train.epocs": 0}, {"train.epocs": None, "train.epoch": 1}),
        ({"train.epocs": None}, {"train.epocs": None, "train.epoch": None}),
        ({"train": 5}, {"train": None}),
        ({"policy.model_name_or_path": "hf://a/b"}, {"policy.model_name_or_path": "hf_model://a/b"}),
        ({"policy.model_name_or_path": "https://huggingface.co/a/b"}, {"policy.model_name_or_path": "hf_model://a/b"}),
        (
            {"policy.model_name_or_path": "builtin://tiny"},
            {"policy.model_name_or_path": "builtin://tiny-cosmos-reason"},
        ),
    ],
)
def test_a_name_that_is_not_known_is_replaced_by_the_one_that_was_meant(given, fix_set):
    skill = catalog.find(REASON)
    overrides = _base(skill, "train") | given
    found = faults.problems_of(skill, "train", overrides)
    assert [problem.fix_set for problem in found] == [fix_set] * len(found)
    _require_fixed(skill, "train", overrides, found[0], found)


@pytest.mark.parametrize("given", [{"zzz": 1}, {"train.optm_decay_typ": "adamww"}])
def test_a_name_that_resembles_none_or_whose_value_fits_none_is_dropped_by_the_user_alone(given):
    skill = catalog.find(REASON)
    (problem,) = faults.problems_of(skill, "train", _base(skill, "train") | given)
    assert not problem.fix_set
    assert list(problem.fix_choices) == [dict.fromkeys(given)]


def test_a_misspelt_parameter_whose_right_name_is_given_too_is_the_users_to_decide():
    skill = catalog.find(REASON)
    (problem,) = faults.problems_of(skill, "train", _base(skill, "train") | {"train.epocs": 3, "train.epoch": 4})
    assert list(problem.fix_choices) == [{"train.epocs": None}, {"train.epocs": None, "train.epoch": 3}]


def test_a_fix_that_does_not_work_is_not_proposed():
    problem = Problem("wrong", "It is wrong.", "Set a.", "a", fix_set={"a": 1}, fix_choices=())
    assert proven([problem], lambda _: [problem])[0].fix_set == {}
    assert proven([problem], lambda _: [Problem("other", "", "", "b")])[0].fix_set == {}
    assert proven([problem], lambda _: [])[0].fix_set == {"a": 1}


def test_a_fix_is_completed_by_what_it_needs():
    needed = Problem("needed", "", "", "b", fix_choices=({"a": 2}, {"b": 1}))
    assert complete({"a": 1}, lambda added: [] if "b" in added else [needed]) == {"a": 1, "b": 1}


def test_many_problems_are_not_all_tried():
    tried = []
    problems = [Problem("wrong", "", "", str(index), fix_set={"a": index}) for index in range(100)]
    proven(problems, lambda added: tried.append(added) or [])
    assert len(tried) == MAX_TRIED
