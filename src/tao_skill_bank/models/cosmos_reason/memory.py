"""Bytes that a training needs per GPU and per checkpoint, from counts of weights and tokens. A simple estimate.

Calibrated on one H200 with Qwen3-VL-8B at 4,384 tokens (bf16, micro-batch 1): 19.6 GiB measured for LoRA with
gradient checkpointing, 33.7 GiB without, 69.5 GiB for full fine-tuning with bf16 states.

Sharding starts from the whole checkpoint: every rank loads it to its own GPU first (model.load), so more shards do not
lower `loading`, and a GPU that cannot hold it cannot train the model however many there are. With offload it is loaded
to the host.
"""

from dataclasses import dataclass, replace

from tao_skill_bank.execution import Way

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
MOMENTS = 2  # Adam keeps two per trained weight
TEXT_TOKENS = 512  # prompt and answer beside the vision tokens
PIXELS_PER_TOKEN = 32 * 32 * 2  # a merged patch over two frames
LABELLED_SHARE = 0.1  # of a sequence's tokens, which the head computes logits for
LOGIT_BYTES = 12  # bf16 logits, their float32 copy and its gradient
CHECKPOINTING_TIME = 1.33  # one more forward pass beside one forward and two backward
KEPT_HIDDEN, KEPT_INTERMEDIATE = 8, 2.25  # activations kept per layer and token, in hidden and MLP widths


@dataclass(frozen=True)
class Shape:
    """The sizes of a model that its memory depends on."""

    parameters: int
    trained: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


@dataclass(frozen=True)
class Setup:
    """What the train spec says of memory."""

    param_bytes: int
    master_bytes: int
    shards: int
    offload: bool
    checkpointing: bool
    micro_batch: int
    total_pixels: int
    max_length: int

    @property
    def tokens(self) -> int:
        """Tokens of one micro-batch: the vision tokens that the pixel budget allows, and some text."""
        return self.micro_batch * min(self.max_length, self.total_pixels // PIXELS_PER_TOKEN + TEXT_TOKENS)


def bytes_per_gpu(shape: Shape, setup: Setup) -> dict[str, int]:
    """Return what one GPU holds, in bytes.

    Returns:
        weights, gradients, optimizer, activations: during a step; loading: the whole checkpoint before it is sharded;
        total: the larger of the step's sum and loading, which do not happen at the same time.

    """
    frozen = shape.parameters - shape.trained
    trained_bytes = shape.trained * setup.master_bytes
    on_gpu = 0 if setup.offload else 1
    parts = {
        "weights": on_gpu * (frozen * setup.param_bytes + trained_bytes) // setup.shards,
        "gradients": on_gpu * trained_bytes // setup.shards,
        "optimizer": on_gpu * MOMENTS * trained_bytes // setup.shards,
        "activations": _activations(shape, setup),
    }
    loading = on_gpu * (frozen * setup.param_bytes or trained_bytes)  # adapters are added to what was loaded
    return parts | {"loading": loading, "total": max(sum(parts.values()), loading)}


def ways(shape: Shape, setup: Setup) -> list[Way]:
    """Return training without and with gradient checkpointing, fastest first: the spec's own and its alternative."""
    return [
        Way(
            name=f"gradient checkpointing {'on' if checkpointing else 'off'}",
            settings={"policy.model_gradient_checkpointing": checkpointing},
            memory_bytes=bytes_per_gpu(shape, replace(setup, checkpointing=checkpointing))["total"],
            relative_time=CHECKPOINTING_TIME if checkpointing else 1.0,
        )
        for checkpointing in (False, True)
    ]


def checkpoint_bytes(shape: Shape, setup: Setup) -> int:
    """Return the size of one epoch's checkpoints/ and safetensors/ folders."""
    resumable = shape.trained * setup.master_bytes * (1 + MOMENTS)
    return resumable + shape.trained * setup.param_bytes


def _activations(shape: Shape, setup: Setup) -> int:
    per_layer = KEPT_HIDDEN * shape.hidden + KEPT_INTERMEDIATE * shape.intermediate
    kept = shape.layers * shape.hidden + 2 * per_layer if setup.checkpointing else shape.layers * per_layer
    logits = LABELLED_SHARE * shape.vocabulary * LOGIT_BYTES
    return int(setup.tokens * (kept * setup.param_bytes + logits))
