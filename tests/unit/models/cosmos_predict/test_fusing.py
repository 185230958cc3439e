import pytest
import torch
from peft import LoraConfig
from torch import nn

from tao_skill_bank.models.cosmos_predict import fusing, pipeline

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]


@pytest.fixture
def adapted(tiny_pipeline):
    """A transformer with a LoRA and a DoRA that do something."""
    transformer = pipeline.load_transformer(tiny_pipeline, torch.float32, torch.device("cpu"))
    transformer.add_adapter(LoraConfig(r=4, lora_alpha=9, target_modules=TARGETS), adapter_name="lora")
    transformer.add_adapter(LoraConfig(r=2, use_dora=True, target_modules=TARGETS), adapter_name="dora")
    torch.manual_seed(0)
    for name, parameter in transformer.named_parameters():
        if "lora_" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return transformer.eval()


@pytest.mark.parametrize(
    ("names", "weights"),
    [(["lora"], [0.7]), (["dora"], [1.3]), (["lora", "dora"], [0.7, 1.3]), (["dora", "lora"], [1, 1])],
    ids=str,
)
def test_a_fused_layer_gives_what_its_adapters_give_side_by_side(adapted, names, weights):
    adapted.set_adapters(names, weights)
    inputs = torch.randn(3, adapted.transformer_blocks[0].attn1.to_q.in_features)
    beside = adapted.transformer_blocks[0].attn1.to_q(inputs)
    fusing.fuse(adapted, names)
    fused = adapted.transformer_blocks[0].attn1.to_q
    assert type(fused) is nn.Linear
    torch.testing.assert_close(fused(inputs), beside, atol=1e-5, rtol=1e-5)


def test_no_adapter_is_left(adapted):
    fusing.fuse(adapted, ["lora"])
    assert not [name for name, _ in adapted.named_parameters() if "lora_" in name]


def test_adapters_that_are_not_named_are_not_fused(adapted, tiny_pipeline):
    fusing.fuse(adapted, [])
    base = pipeline.load_transformer(tiny_pipeline, torch.float32, torch.device("cpu"))
    for name, parameter in adapted.named_parameters():
        assert torch.equal(parameter, base.get_parameter(name))
