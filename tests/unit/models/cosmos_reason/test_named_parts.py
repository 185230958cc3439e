"""A setting that names parts or layers acts on something, or is refused: in the plan and in the trainer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.inspect import inspect
from tao_skill_bank.training.config import load_spec

from .conftest import Document, diagnosis

LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
QUERY = r"layers\.1\.self_attn\.q_proj"


@pytest.fixture(scope="module")
def tied_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose head is the embedding."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("models") / "tied"
    shutil.copytree(tiny_model, folder)
    document = json.loads((folder / "config.json").read_text())
    document["tie_word_embeddings"] = document["text_config"]["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(document))
    weights = load_file(str(folder / "model.safetensors"))
    del weights["lm_head.weight"]
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


@pytest.fixture
def planned(train_spec: Document, write_config: Callable[..., Path]) -> Callable[..., Document]:
    """Return what preflight learns of a training of a model with a policy and rates."""

    def run(model: Path, policy: Document, rates: Any) -> Document:
        train_spec["policy"] |= {"model_name_or_path": str(model), **policy}
        train_spec["train"] |= {"optm_lr": rates, "epoch": 1}
        return inspect(load_spec(TrainConfig, write_config(train_spec)))

    return run


# (tied, policy, rates, key that is refused, a part of the fix)
NOTHING: dict[str, tuple[bool, Document, Any, str, str]] = {
    "a frozen head that is the embedding": (
        True,
        {"frozen_parts": ["lm_head"]},
        1e-3,
        "policy.frozen_parts",
        '--set policy.frozen_parts=\'["lm_head", "llm"]\'',
    ),
    "a rate of a head that is the embedding": (
        True,
        {},
        [1e-3, 1e-4, 1e-5, 1e-6],
        "train.optm_lr",
        "--set train.optm_lr='[0.001, 0.0001, 1e-05]'",
    ),
    "a rate of a frozen part": (
        False,
        {"frozen_parts": ["vision", "projector"]},
        [1e-3, 1e-4],
        "train.optm_lr",
        "--set train.optm_lr='0.001'",
    ),
    "a rate of a part without adapters": (False, {"lora": LORA}, [1e-3, 1e-4], "train.optm_lr", "'0.001'"),
    "a target in a frozen part": (
        False,
        {"lora": {**LORA, "target_modules": ["q_proj", "attn.qkv"]}, "frozen_parts": ["vision"]},
        1e-3,
        "policy.lora.target_modules",
        "--set policy.lora.target_modules='[\"q_proj\"]'",
    ),
    "a saved module in frozen parts": (
        False,
        {"lora": {**LORA, "modules_to_save": ["visual"]}, "frozen_parts": ["vision", "projector"]},
        1e-3,
        "policy.lora.modules_to_save",
        "'[]'",
    ),
    "a rank of no layer": (
        False,
        {"lora": {**LORA, "r_pattern": {"layers.99.q_proj": 2}}},
        1e-3,
        "policy.lora.r_pattern",
        "such as",
    ),
    "a rank of a layer without adapter": (
        False,
        {"lora": {**LORA, "r_pattern": {r".*mlp\.down_proj": 2}}},
        1e-3,
        "policy.lora.r_pattern",
        "such as",
    ),
    "a scale behind a pattern that takes all": (
        False,
        {"lora": {**LORA, "alpha_pattern": {"q_proj": 4, QUERY: 16}}},
        1e-3,
        "policy.lora.alpha_pattern",
        "Remove it",
    ),
}


@pytest.mark.parametrize("case", list(NOTHING))
def test_a_setting_that_names_nothing_is_refused_in_the_plan_and_in_the_trainer(
    case: str,
    planned: Callable[..., Document],
    train_spec: Document,
    run_program: Callable[[str, Document], int],
    tiny_model: Path,
    tied_model: Path,
) -> None:
    is_tied, policy, rates, path, fix = NOTHING[case]
    found = planned(tied_model if is_tied else tiny_model, policy, rates)["problems"]
    assert [problem["path"] for problem in found] == [path]
    assert fix in found[0]["fix"]
    assert run_program("train", train_spec) == 3
    refused = diagnosis(Path(train_spec["results_dir"]))
    assert (refused["code"], refused["cause"]) == (found[0]["code"], found[0]["message"])


@pytest.mark.parametrize(
    ("is_tied", "policy", "rates"),
    [
        (False, {"frozen_parts": ["lm_head"]}, [1e-3, 1e-4]),
        (True, {"frozen_parts": ["llm", "lm_head"]}, 1e-3),
        (True, {}, [1e-3, 1e-4, 1e-5, 1e-3]),
        (True, {"lora": LORA, "frozen_parts": ["lm_head"]}, 1e-3),
        (False, {"frozen_parts": ["vision"]}, [1e-3, 1e-3, 1e-5]),
        (False, {"lora": {**LORA, "r_pattern": {QUERY: 2}, "alpha_pattern": {QUERY: 4, "q_proj": 16}}}, 1e-3),
        (False, {"lora": {**LORA, "target_modules": ["all-linear"]}, "frozen_parts": ["vision", "projector"]}, 1e-3),
    ],
)
def test_a_setting_that_acts_is_no_problem(
    is_tied: bool, policy: Document, rates: Any, planned: Callable[..., Document], tiny_model: Path, tied_model: Path
) -> None:
    assert planned(tied_model if is_tied else tiny_model, policy, rates)["problems"] == []


def test_a_head_that_is_frozen_with_the_embeddings_is_noted(planned: Callable[..., Document], tied_model: Path) -> None:
    notes = planned(tied_model, {"frozen_parts": ["llm"]}, 1e-3)["notes"]
    assert [note["code"] for note in notes] == ["head_is_tied"]


def test_a_pattern_that_is_not_an_expression_is_refused_before_a_model_is_looked_at(
    train_spec: Document, run_program: Callable[[str, Document], int]
) -> None:
    train_spec["policy"]["lora"] = {**LORA, "alpha_pattern": {"q_proj(": 4}}
    assert run_program("train", train_spec) == 2
    assert diagnosis(Path(train_spec["results_dir"]))["code"] == "invalid_pattern"
