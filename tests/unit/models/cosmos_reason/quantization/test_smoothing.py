import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch

from tao_skill_bank.models.cosmos_reason.quantization import scales
from tao_skill_bank.models.cosmos_reason.quantization.activations import Activations
from tao_skill_bank.models.cosmos_reason.quantization.smoothing import READERS, smooth

from .conftest import Logits, relative_error


def plant_outliers(network: Any, channels: tuple[int, ...] = (3, 40), factor: float = 60.0) -> None:
    """Make some activation channels large without changing the model's function."""
    with torch.no_grad():
        for block in network.model.language_model.layers:
            for norm, readers in READERS.items():
                for channel in channels:
                    block.get_submodule(norm).weight[channel] *= factor
                    for reader in readers:
                        block.get_submodule(reader).weight[:, channel] /= factor


def error_at(network: Any, strength: float, logits: Logits, prepare: Callable[..., Activations]) -> float:
    exact = logits(network)
    quantized = copy.deepcopy(network)
    activations = smooth(quantized, prepare(quantized, "W8A8"), strength)
    scales.set_scales(quantized, activations)
    return relative_error(logits(quantized), exact)


def test_smoothing_changes_nothing_that_the_model_computes(
    network: Any, logits: Logits, prepare: Callable[..., Activations]
) -> None:
    plant_outliers(network)
    exact = logits(network)
    activations = prepare(copy.deepcopy(network), "W8A8")
    smooth(network, activations, 0.8)
    assert relative_error(logits(network), exact) < 1e-5


def test_smoothing_lowers_the_int8_error_of_planted_outliers(
    network: Any, logits: Logits, prepare: Callable[..., Activations]
) -> None:
    plant_outliers(network)
    plain, smoothed = (error_at(network, strength, logits, prepare) for strength in (0.0, 0.8))
    assert plain > 0.02
    assert smoothed < plain / 2


def test_statistics_after_smoothing_are_those_of_the_smoothed_model(
    network: Any, logits: Logits, prepare: Callable[..., Activations]
) -> None:
    plant_outliers(network)
    predicted = smooth(network, prepare(network, "W8A8"), 0.5)
    measured = prepare(network, "W8A8")
    for name, inputs in measured.inputs.items():
        assert torch.allclose(predicted.inputs[name].largest, inputs.largest, rtol=1e-3, atol=1e-4), name
        assert torch.allclose(predicted.inputs[name].mean_square, inputs.mean_square, rtol=1e-3, atol=1e-4), name


def test_a_channel_that_is_always_zero_stays_as_it_is(network: Any, prepare: Callable[..., Activations]) -> None:
    block = network.model.language_model.layers[0]
    with torch.no_grad():
        block.input_layernorm.weight[5] = 0
    column = block.self_attn.q_proj.weight[:, 5].clone()
    smooth(network, prepare(network, "W8A8"), 0.8)
    assert torch.equal(block.self_attn.q_proj.weight[:, 5], column)
    assert all(
        block.get_submodule(name).weight.isfinite().all() for name in itertools.chain(READERS, *READERS.values())
    )
