"""Predicts the GPU memory and the FLOPs of an adapter training step from counts of weights and tokens.

Calibrated on one H100 at 432x768x93 (31,104 tokens), batch 1, rank 32, 28 blocks of width 2048, bf16
(references/performance.md): allocated memory in addition to weights and optimizer, in units of one block's input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.bank.execution import ExecutionPlan
from tao_skill_bank.models.cosmos_predict.geometry import ClipShape

# Block inputs kept for the backward pass: per block, and once. Measured totals for 28 blocks: 61, 83, 383, 670.
KEPT = {"none": (22.8, 32.0), "pointwise": (12.5, 32.0), "selective": (1.8, 32.0), "full": (1.0, 33.0)}
DORA_KEPT = 1.25  # block inputs more per block under none and pointwise: the magnitude's product is kept
RELATIVE_TIME = {"none": 1.0, "pointwise": 1.0, "selective": 1.1, "full": 1.29}  # of the same attention kernel
RESERVED_BESIDE = int(0.9 * 2**30)  # CUDA context, and memory that the allocator reserves but does not hand out
TRAINED_BYTES = 16  # float32 weight, gradient and Adam's two moments
TOKEN_WEIGHTS = 14  # of a block, in width^2: self-attention 4, cross-attention's query and output 2, feed-forward 2 x 4
FASTEST_FIRST = (
    "pointwise",
    "none",
    "selective",
    "full",
)  # none is not faster than pointwise and needs the most memory


@dataclass(frozen=True)
class Shape:
    """The sizes of a transformer that memory and arithmetic depend on."""

    parameters: int
    trained: int
    layers: int
    width: int
    context_tokens: int = 512


@dataclass(frozen=True)
class Load:
    """The load of one forward pass."""

    clip: ClipShape
    batch: int
    weight_bytes: int
    use_dora: bool


def execution_plans(shape: Shape, load: Load, allowed: Sequence[str]) -> list[ExecutionPlan]:
    """Return the allowed execution plans, fastest first, with their predicted peak memory."""
    return [
        ExecutionPlan(
            name=f"gradient_checkpointing {mode}",
            settings={"train.gradient_checkpointing": mode},
            memory_bytes=sum(parts(shape, load, mode).values()),
            relative_time=RELATIVE_TIME[mode],
        )
        for mode in FASTEST_FIRST
        if mode in allowed
    ]


def parts(shape: Shape, load: Load, mode: str) -> dict[str, int]:
    """Return the predicted peak memory of one GPU in bytes, by component."""
    per_block, once = KEPT[mode]
    if load.use_dora and mode in ("none", "pointwise"):
        per_block += DORA_KEPT
    block_input = load.batch * load.clip.tokens * shape.width * load.weight_bytes
    frozen = shape.parameters - shape.trained
    return {
        "weights": frozen * load.weight_bytes + shape.trained * 4,
        "gradients": shape.trained * 4,
        "optimizer": shape.trained * 8,
        "activations": int(block_input * (per_block * shape.layers + once)),
        "loading": 0,
        "reserve": RESERVED_BESIDE,
    }


def checkpoint_bytes(shape: Shape) -> int:
    """Return the size of one epoch's checkpoints/ and safetensors/ folders."""
    return shape.trained * (4 + 8 + 4)


def step_flops(shape: Shape, load: Load) -> float:
    """Return the FLOPs of one forward and backward pass, without recomputation.

    A product costs 2 per weight and token forward; backward costs as much for the inputs' gradients, and for trained
    weights as much again. Attention costs 4 tokens^2 width per block forward, and twice that backward. Weights applied
    only to captions or noise levels are neglected: they have few rows.
    """
    tokens = load.batch * load.clip.tokens
    products = 2 * tokens * (2 * TOKEN_WEIGHTS * shape.width**2 * shape.layers + 3 * shape.trained)
    pairs = load.batch * load.clip.tokens * (load.clip.tokens + shape.context_tokens)
    return products + 3 * 4 * pairs * shape.width * shape.layers


def forward_flops(shape: Shape, load: Load) -> float:
    """Return the FLOPs of one forward pass; see `step_flops`."""
    tokens = load.batch * load.clip.tokens
    products = 2 * tokens * (TOKEN_WEIGHTS * shape.width**2 * shape.layers + shape.trained)
    pairs = load.batch * load.clip.tokens * (load.clip.tokens + shape.context_tokens)
    return products + 4 * pairs * shape.width * shape.layers


def shape_of(dit: Any) -> Shape:
    """Return the sizes of a transformer, with or without adapters."""
    every = list(dit.parameters())
    config = dit.config
    return Shape(
        parameters=sum(parameter.numel() for parameter in every),
        trained=sum(parameter.numel() for parameter in every if parameter.requires_grad),
        layers=config.num_layers,
        width=config.num_attention_heads * config.attention_head_dim,
    )
