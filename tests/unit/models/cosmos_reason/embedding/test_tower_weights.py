"""The vision tower alone equals that of the whole model, and adapters that change it are merged first."""

from pathlib import Path

import pytest
import torch

from tao_skill_bank.models.cosmos_reason import sharded_weights
from tao_skill_bank.models.cosmos_reason.config.embed import EmbedConfig, EmbeddedData, EmbeddingModel
from tao_skill_bank.models.cosmos_reason.embedding import tower_adapters, tower_weights
from tao_skill_bank.training import adapters
from tao_skill_bank.training.distributed import Ranks

RANKS = Ranks(0, 1, torch.device("cpu"))


def test_only_the_tower_is_read_and_it_is_that_of_the_checkpoint(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    read: list[int] = []
    fill = sharded_weights.fill
    monkeypatch.setattr(sharded_weights, "fill", lambda *args, **how: read.append(fill(*args, **how)))
    config = EmbedConfig(dataset=EmbeddedData("a.json", "/media"), model=EmbeddingModel(model_name=str(tiny_model)))
    state = tower_weights.load(config, tiny_model, torch.float32, RANKS).state_dict()
    expected = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model)).model.visual.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert read == [sum(tensor.nbytes for tensor in expected.values())]


def test_an_adapter_of_the_tower_is_merged_into_it(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    network = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model))
    before = network.model.visual.blocks[0].attn.qkv.weight.detach().clone()
    adapted = adapters.add(network, {"r": 2, "target_modules": ["attn.qkv"]}, str(tiny_model))
    trained = {name: torch.full_like(p, 0.1) for name, p in adapted.named_parameters() if p.requires_grad}
    adapters.write(tmp_path / "lora", adapted, trained, {}, tiny_model)
    assert tower_adapters.is_changed_by(tmp_path / "lora")
    assert tower_adapters.is_changed_by(tmp_path / "absent")
    assert not tower_adapters.is_changed_by(adapter)
    chosen = EmbeddingModel(model_name=str(tmp_path / "lora"), enable_lora=True, base_model_path=str(tiny_model))
    config = EmbedConfig(dataset=EmbeddedData("a.json", "/media"), model=chosen)
    merged = tower_weights.load(config, tiny_model, torch.float32, RANKS)
    assert not torch.allclose(merged.blocks[0].attn.qkv.weight, before)
