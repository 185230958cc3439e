"""Every dense checkpoint of the family, sized from its name alone; nothing is downloaded."""

import json
from pathlib import Path

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Finding, Request
from tao_skill_bank.errors import BlockedError, RequestError, UnknownNameError
from tao_skill_bank.models.cosmos_reason import architectures
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.inspect import inspect
from tao_skill_bank.planning import planner
from tao_skill_bank.planning.dispatch import plan
from tao_skill_bank.planning.parents import Inheritance
from tao_skill_bank.preflight.storage import credentials
from tao_skill_bank.spec import build
from tao_skill_bank.training.config import load_spec

from .conftest import Document

SKILL = catalog.find("tao-finetune-cosmos-reason")
BILLIONS = {"2B": 2.13, "4B": 4.44, "8B": 8.77, "32B": 33.4}


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    folder = tmp_path / "mixture"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_vl_moe"}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SKILL.info.huggingface_model_ids)
def test_every_named_checkpoint_has_the_parameters_of_its_name(
    name: str, train_spec: Document, write_config: object
) -> None:
    train_spec["policy"]["model_name_or_path"] = f"hf_model://{name}"
    found = inspect(load_spec(TrainConfig, write_config(train_spec)))  # type: ignore[operator]
    size = next(part for part in name.split("-") if part in BILLIONS)
    assert found["parameters"] / 1e9 == pytest.approx(BILLIONS[size], rel=0.02)


def test_the_named_checkpoints_are_the_packaged_ones() -> None:
    assert set(architectures.packaged()) == set(SKILL.info.huggingface_model_ids)
    assert catalog.find("qwen3-vl").name == SKILL.name


def test_a_folder_of_another_family_or_of_experts_is_refused(mixture: Path, tmp_path: Path) -> None:
    with pytest.raises(BlockedError, match="mixture of experts") as caught:
        architectures.find(str(mixture))
    assert "dense Qwen3-VL" in caught.value.problems[0].fix
    (mixture / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(BlockedError, match="a llama model"):
        architectures.find(str(mixture))
    with pytest.raises(UnknownNameError, match="not on this machine"):
        architectures.find("hf_model://acme/unknown")


def _plan(clips: Path, model: str) -> list[Finding]:
    datasets = {"train": str(clips / "train"), "eval": str(clips / "val")}
    request = Request(SKILL.name, "train", datasets=datasets, overrides={"policy.model_name_or_path": model})
    return list(plan(request).findings)


@pytest.mark.slow
def test_preflight_blocks_a_mixture_whose_config_is_at_hand_and_a_name_that_says_so(clips: Path, mixture: Path) -> None:
    found = {finding.code: finding for finding in _plan(clips, str(mixture))}
    assert found["model_type"].severity == "blocking"
    assert "mixture of experts" in found["model_type"].message
    for name in ("Qwen/Qwen3-VL-30B-A3B-Instruct", "hf_model://Qwen/Qwen3-VL-235B-A22B-Thinking-FP8"):
        with pytest.raises(RequestError, match="mixture of experts"):
            _plan(clips, name)


def test_only_gated_checkpoints_need_a_token(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    asked: list[str] = []

    def reply(repository: str, _: str) -> dict[str, str]:
        asked.append(repository)
        return {"access": "ok"}

    monkeypatch.setattr(credentials, "_ask_hub", reply)
    for name in SKILL.info.huggingface_model_ids:
        request = Request(
            SKILL.name, "evaluate", datasets={"eval": str(clips / "val")}, overrides={"model.model_name": name}
        )
        job = planner.assemble(SKILL, request, build.build(SKILL, request), Inheritance(), "job-1", one_machine=True)
        found = [finding.code for finding in credentials.check(job)]
        assert found == ["credential_missing" if name.startswith("nvidia/") else "hub_access"], name
    assert asked == [name for name in SKILL.info.huggingface_model_ids if name.startswith("Qwen/")]
