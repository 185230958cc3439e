"""Predicts the GPU memory of a training and the size of its checkpoints from model and micro-batch sizes.

Activations are counted as the values that each block's backward pass reads, per token or patch. On an H200 the sums
are within 6 % of measurements for LoRA and full fine-tuning of the 8B (references/performance.md).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tao_skill_bank.bank.execution import ExecutionPlan

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
MOMENTS = 2  # Adam's moments per trained weight
RESERVE = int(1.1 * 2**30)  # CUDA context, library workspaces, and unused memory of the allocator
PACKED_BITS = 4.127  # of a weight in NF4 with quantized scales (four_bit.BITS)
LARGEST_SHARE = 3  # inverse share of a layer's weights in its largest matrix: one of three in the feed-forward part
PIECE = 1024  # labelled tokens whose logits are in memory at a time (loss.py)
LOGIT_BYTES = 10  # of one logit: in the model's type twice, in float32, and a sum over it
RECOMPUTATION_TIME = 0.33  # one more forward pass in addition to one forward and two backward
SPLIT_TIME = 0.03  # added per halving of the micro-batch: smaller matrix products, more weight reads
PATCHES_PER_TOKEN = 4
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Stack:
    """Blocks of one kind: the decoder's layers or the vision tower's blocks.

    Attributes:
        blocks: their number.
        hidden: width of the residual stream.
        kept: values per token that a block's backward pass reads, in addition to its input.
        trains: whether gradients flow into it.

    """

    blocks: int
    hidden: int
    kept: int
    trains: bool

    def activation_bytes(self, tokens: int, recompute: float, value_bytes: int) -> int:
        """Return the bytes kept between forward and backward, including the inputs of all blocks."""
        if not self.trains:
            return tokens * value_bytes * (self.kept + self.hidden)  # one block at a time
        num_recomputed = round(recompute * self.blocks)
        whole = self.blocks - num_recomputed + (1 if num_recomputed else 0)  # the one being recomputed
        return tokens * value_bytes * (self.blocks * self.hidden + whole * self.kept)


@dataclass(frozen=True)
class Shape:
    """The sizes of a model that its memory depends on.

    Attributes:
        levels: features per vision token.
        packed: number of parameters in 4 bits.

    """

    parameters: int
    trained: int
    vocabulary: int
    head_trains: bool
    levels: int
    text: Stack
    vision: Stack
    packed: int = 0


@dataclass(frozen=True)
class Load:
    """The load of one micro-batch.

    Attributes:
        tokens, patches, labels: of one sample.
        samples: in one micro-batch.
        per_step: in one optimizer step of a rank.

    """

    tokens: int
    patches: int
    labels: int
    samples: int
    per_step: int


@dataclass(frozen=True)
class Setup:
    """Memory-relevant settings of the train spec.

    Attributes:
        uses_fsdp: whether weights are gathered in param_dtype for every block, also with one shard.
        features_cached: whether the vision tower does not run while training.

    """

    param_bytes: int
    master_bytes: int
    shards: int
    offload: bool
    uses_fsdp: bool
    features_cached: bool


def parts(shape: Shape, setup: Setup, load: Load, recompute: float) -> dict[str, int]:
    """Return the memory of one GPU in bytes, by component.

    Gradients of a single micro-batch grow while its activations shrink, so the larger of the two counts; with more
    micro-batches, the gradients of the first coexist with the activations of the next.

    Returns:
        weights, optimizer, gradients, activations, reserve: at the peak of a step; loading: before the first step,
        not at the same time; total: the larger of the two.

    """
    frozen_bytes = _frozen_bytes(shape, setup)
    trained_bytes = shape.trained * setup.master_bytes
    on_gpu = 0 if setup.offload else 1
    gradients = on_gpu * trained_bytes // setup.shards
    activations = _activations(shape, setup, load, recompute)
    if load.samples == load.per_step:
        activations = max(0, activations - gradients)
    activations += _gathered(shape, setup)
    step = {
        "weights": on_gpu * (frozen_bytes + trained_bytes) // setup.shards,
        "gradients": gradients,
        "optimizer": on_gpu * MOMENTS * trained_bytes // setup.shards,
        "activations": activations,
        "reserve": RESERVE,
    }
    whole = frozen_bytes or trained_bytes  # adapters are added after loading
    loading = on_gpu * (0 if setup.shards > 1 else whole)  # ranks read only their shards
    return step | {"loading": loading, "total": max(sum(step.values()), loading)}


def execution_plans(shape: Shape, setup: Setup, load: Load, allowed: Iterable[float]) -> list[ExecutionPlan]:
    """Return the execution plans, fastest first: recomputed shares and micro-batches up to `load.samples`."""
    found = []
    for samples in (count for count in range(load.samples, 0, -1) if load.samples % count == 0):
        for share in allowed:
            found.append(
                ExecutionPlan(
                    name=_name(share, samples, load.samples),
                    settings={
                        "policy.model_gradient_checkpointing": _as_spec(share),
                        "train.train_policy.mini_batch": samples,
                    },
                    memory_bytes=parts(shape, setup, replace(load, samples=samples), share)["total"],
                    relative_time=1 + RECOMPUTATION_TIME * share + SPLIT_TIME * math.log2(load.samples / samples),
                )
            )
    return sorted(found, key=lambda plan: plan.relative_time)


def checkpoint_bytes(shape: Shape, setup: Setup) -> int:
    """Return the size of one epoch's checkpoints/ and safetensors/ folders."""
    resumable = shape.trained * setup.master_bytes * (1 + MOMENTS)
    return resumable + shape.trained * setup.param_bytes


def _frozen_bytes(shape: Shape, setup: Setup) -> int:
    whole = shape.parameters - shape.trained - shape.packed
    return whole * setup.param_bytes + round(shape.packed * PACKED_BITS / 8)


def _activations(shape: Shape, setup: Setup, load: Load, recompute: float) -> int:
    tokens, patches = load.samples * load.tokens, load.samples * load.patches
    kept = shape.text.activation_bytes(tokens, recompute, setup.param_bytes)
    merged = patches // PATCHES_PER_TOKEN
    kept += merged * shape.levels * shape.text.hidden * setup.param_bytes  # the features, until they are added
    vision = 0 if setup.features_cached else shape.vision.activation_bytes(patches, recompute, setup.param_bytes)
    if shape.vision.trains:
        kept, vision = kept + vision, 0
    head = shape.vocabulary * shape.text.hidden * setup.param_bytes
    logits = min(PIECE, load.samples * load.labels) * shape.vocabulary * LOGIT_BYTES
    if shape.head_trains:
        logits += head  # its gradient is computed first and kept
    return max(kept + logits, vision)


def _gathered(shape: Shape, setup: Setup) -> int:
    """Return the memory of weights gathered by FSDP: embeddings and head for the whole step, two blocks at a time."""
    if not setup.uses_fsdp:
        return 0
    embeddings = shape.vocabulary * shape.text.hidden
    return 2 * setup.param_bytes * (embeddings + shape.parameters // (shape.text.blocks + 2))


def _name(share: float, samples: int, most: int) -> str:
    kinds = {0.0: "no gradient checkpointing", 1.0: "gradient checkpointing"}
    name = kinds.get(share, f"gradient checkpointing of {share:.0%} of the layers")
    return name if samples == most else f"{name}, micro-batches of {samples}"


def _as_spec(share: float) -> bool | float:
    return {0.0: False, 1.0: True}.get(share, share)
