from collections.abc import Callable
from typing import Any

import pytest
import torch

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.quantization import scheme
from tao_skill_bank.models.cosmos_reason.quantization.activations import Activations, observe

from .conftest import Logits, relative_error

GATE = "model.language_model.layers.1.mlp.gate_proj"
ATTENTION = "model.language_model.layers.1.self_attn"


@pytest.mark.slow
def test_inputs_are_those_that_the_layer_sees(
    network: Any, logits: Logits, prepare: Callable[..., Activations]
) -> None:
    seen: list[torch.Tensor] = []
    norm = network.model.language_model.layers[1].post_attention_layernorm  # what gate_proj reads
    handle = norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output.flatten(0, -2)))
    logits(network)
    handle.remove()
    tokens = torch.cat(seen)
    found = prepare(network, "W8A8").inputs[GATE]
    assert found.num_tokens == len(tokens)
    assert torch.equal(found.largest, tokens.abs().amax(0))
    assert torch.allclose(found.mean_square, tokens.square().mean(0), rtol=1e-5)


def test_values_are_the_projections_and_keys_are_normed_and_rotated(
    network: Any, logits: Logits, prepare: Callable[..., Activations]
) -> None:
    values: list[torch.Tensor] = []
    attention = network.model.language_model.layers[1].self_attn
    handle = attention.v_proj.register_forward_hook(lambda _module, _inputs, output: values.append(output))
    logits(network)
    handle.remove()
    found = prepare(network, "FP8", kv_fp8=True)
    assert found.values[ATTENTION] == torch.stack([value.abs().amax() for value in values]).amax()
    bound = float(attention.k_norm.weight.detach().abs().amax()) * attention.head_dim**0.5  # a rotation keeps the norm
    assert 0 < float(found.keys[ATTENTION]) <= bound


def test_the_model_is_not_quantized_while_it_is_observed(network: Any, logits: Logits) -> None:
    before = logits(network)
    scheme.apply(network, "FP8", kv_fp8=True)
    with observe(network):
        assert relative_error(logits(network), before) < 1e-6


def test_activations_that_are_not_finite_are_refused(network: Any, prepare: Callable[..., Activations]) -> None:
    with torch.no_grad():
        network.model.language_model.layers[0].input_layernorm.weight[0] = torch.inf
    with pytest.raises(BlockedError, match="not finite"):
        prepare(network, "W4A16")
