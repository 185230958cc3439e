"""Reads the memory-relevant sizes of a model, which may be on the meta device."""

from collections.abc import Callable
from typing import Any

from torch import nn

from tao_skill_bank.models.cosmos_reason.memory import Shape, Stack
from tao_skill_bank.models.cosmos_reason.model import count
from tao_skill_bank.models.cosmos_reason.network import parts, trained_copy
from tao_skill_bank.training import four_bit


def shape_of(model: nn.Module, *, packs: bool = False) -> Shape:
    """Return the sizes of transformers' or peft's model; parameters that require gradients are trained.

    Args:
        model: may be on the meta device.
        packs: the decoder's linear layers will be kept in 4 bits.

    """
    base = parts(model)
    visual = trained_copy(base.model.visual)
    every = list(model.parameters())
    packs_here = any(four_bit.is_packed(layer) for layer in model.modules())
    return Shape(
        parameters=count(every),
        trained=sum(parameter.numel() for parameter in every if parameter.requires_grad),
        vocabulary=base.config.text_config.vocab_size,
        head_trains=base.lm_head.weight.requires_grad,
        levels=1 + len(base.config.vision_config.deepstack_visual_indexes),
        text=_text(base.config.text_config, base.model.language_model.layers[0]),
        vision=_vision(base.config.vision_config, visual),
        packed=_linear_weights(base.model.language_model) if packs or packs_here else 0,
    )


def _linear_weights(text: nn.Module) -> int:
    """Count the weights of the decoder's own linear layers, from their in and out features, also if packed."""
    layers: list[Any] = [module for name, module in text.named_modules() if ".lora_" not in name]
    return sum(layer.in_features * layer.out_features for layer in layers if isinstance(layer, nn.Linear))


def _text(config: Any, layer: Any) -> Stack:
    """Count the values that the backward pass of `decoder._run_layer` reads."""
    query, key = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    learns = _learns(layer)
    kept = 2 * query + 2 * key  # before the norms of query and key, and after the rotation
    kept += key + query  # value, output of attention
    kept += config.hidden_size + 2 * config.intermediate_size  # stream between the parts, gate and up
    kept += config.hidden_size * (
        learns("self_attn.q_proj") or learns("self_attn.k_proj") or learns("self_attn.v_proj")
    )
    kept += config.hidden_size * (learns("mlp.gate_proj") or learns("mlp.up_proj"))
    kept += config.intermediate_size * learns("mlp.down_proj")
    return Stack(config.num_hidden_layers, config.hidden_size, kept, trains=True)


def _vision(config: Any, visual: Any) -> Stack:
    """Count the values that the backward pass of `vision_tower._run_block` reads."""
    learns = _learns(visual.blocks[0])
    kept = 3 * config.hidden_size  # query, key and value after the rotation
    kept += 2 * config.hidden_size + config.intermediate_size  # output of attention, stream, input of gelu
    kept += config.hidden_size * (learns("attn.qkv") + learns("mlp.linear_fc1"))
    kept += config.intermediate_size * learns("mlp.linear_fc2")
    trains = any(parameter.requires_grad for parameter in visual.parameters())
    return Stack(config.depth, config.hidden_size, kept, trains)


def _learns(block: nn.Module) -> Callable[[str], bool]:
    """Return whether the weight of a layer of the block, or its adapter, is trained, so that its input is kept."""

    def learns(name: str) -> bool:
        return any(parameter.requires_grad for parameter in block.get_submodule(name).parameters())

    return learns
