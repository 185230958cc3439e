"""Shared code names no spec key of any model: a third skill calls its keys what it likes."""

import re
from pathlib import Path

import pytest

import tao_skill_bank
from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.schema import leaves

PACKAGE = Path(tao_skill_bank.__file__).parent
OF_ONE_MODEL = ("models", "demo", "samples", "authoring")  # rooms that are about given models
SUFFIXES = (".py", ".yaml", ".jinja", ".sh")
SOURCES = [
    path
    for path in sorted(PACKAGE.rglob("*"))
    if path.suffix in SUFFIXES and path.relative_to(PACKAGE).parts[0] not in (*OF_ONE_MODEL, "_bank")
]

# Names that shared code has a right to, and why: it is no accident that a spec uses the same word.
ALLOWED = {
    "annotation_path": "a field of a request's datasets (contracts.DatasetPaths)",
    "model_name_or_path": "the spelling of a request for the model in every action (spec/model_key)",
    "media_dir": "a key of the public bank's specs/workflow.yaml (deft/public_file)",
    "media_path": "a field of a request's datasets (contracts.DatasetPaths)",
    "caption_key": "an option of data/kinds/captioned_clips",
    "caption_source": "a field of a clip that data/clip_folders returns",
    "min_frames": "an option of data/kinds/captioned_clips",
    "num_frames": "a field of contracts.Workload and of a probed video",
    "max_steps": "a field of contracts.Workload and of training_facts, where models have such a key",
    "max_tokens": "a field of contracts.Workload, and of the chat protocol",
    "results_dir": "the run directory, which the dispatcher binds in every spec",
    "num_samples": "a field of metrics_summary.json (references/results.md)",
    "system_prompt": "what people write for `system` in annotation records (data/records/census)",
    "video_start": "a key of annotation records (data/records)",
    "video_end": "a key of annotation records (data/records)",
    "max_keep": "a parameter of training/saver",
    "num_steps": "a parameter of training/schedule",
    "test_size": "a parameter of training/held_out, which is told the key",
    "max_length": "a word of JSON Schema's in bank/parameters",
    "api_key_variable": "an option of a search's endpoint (automl.endpoint)",
    "endpoint.api_key_variable": "an option of a search's endpoint (automl.endpoint)",
    "endpoint.model": "an option of a search's endpoint (automl.endpoint)",
    "endpoint.timeout_seconds": "an option of a search's endpoint (automl.endpoint)",
    "base_url": "an option of a search's endpoint (automl.endpoint)",
    "timeout_seconds": "an option of a search's endpoint, and of waiting for a job",
    "max_retries": "an option of the OpenAI client, and of `run --retries`",
    "endpoint_model": "the code of an error of core/chat_endpoint",
    "alpha_pattern": "a key of peft's adapter_config.json",
    "init_lora_weights": "a key of peft's adapter_config.json",
    "lora_alpha": "a key of peft's adapter_config.json",
    "lora_dropout": "an attribute of peft's layers",
    "target_modules": "a key of peft's adapter_config.json",
    "use_dora": "a key of peft's adapter_config.json",
    "use_rslora": "a key of peft's adapter_config.json",
    "load_in_4bit": "a key of transformers' quantization config",
    "model_max_length": "a key of transformers' tokenizer_config.json",
    "safety_checker": "a part of diffusers' pipelines",
    "shard_id": "report/samples reads the numbering of evaluations without a kind, which only one model wrote",
    "total_shard": "report/samples reads the numbering of evaluations without a kind, which only one model wrote",
}


def spec_keys() -> tuple[set[str], set[str]]:
    """Return the paths of two or more parts of every schema, and the leaf names that are no everyday word."""
    skills = [skill for skill in catalog.skills() if skill.runs_actions]
    every = {path for skill in skills for action in skill.info.actions for path, _ in leaves(skill.schema(action))}
    return {path for path in every if "." in path}, {name for path in every if "_" in (name := path.split(".")[-1])}


PATHS, NAMES = spec_keys()


def named_in(text: str) -> set[str]:
    """Return the spec keys that a text names."""
    dotted = set(re.findall(r"(?<![\w/.])[a-z_]\w*(?:\.\w+)+(?![\w(])", text))
    return (dotted & PATHS) | (set(re.findall(r"\w+", text)) & NAMES)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_shared_module_names_no_spec_key_of_a_model(path: Path) -> None:
    assert named_in(path.read_text(encoding="utf-8")) - ALLOWED.keys() == set()


def test_every_allowed_name_is_needed() -> None:
    used = set().union(*(named_in(path.read_text(encoding="utf-8")) for path in SOURCES))
    assert ALLOWED.keys() - used == set()


def test_the_search_finds_keys_where_there_are_some() -> None:
    assert named_in("Lower train.optm_lr, or set policy.lora.r=8 in ckpt.max_keep.") == {
        "train.optm_lr", "policy.lora.r", "ckpt.max_keep", "optm_lr", "max_keep",
    }  # fmt: skip
