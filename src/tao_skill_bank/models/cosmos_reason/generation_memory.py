"""Predicts the GPU memory of answering: weights, key-value cache, and activations of the prompt's forward pass.

Counted from the architecture, for the longest sequence that the pixel budget allows: a key and a value per layer, KV
head and token, and the live tensors at the peak of the language model or the vision tower. Not calibrated
on a GPU; the cache is exact (a test compares it with transformers').
"""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tao_skill_bank.models.cosmos_reason import architectures
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig, InferenceConfig
from tao_skill_bank.training import inspection

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
FLOAT32 = 4
TEXT_TOKENS = 512  # per prompt, in addition to vision tokens
PIXELS_PER_TOKEN = 32 * 32 * 2  # a merged patch over two frames
PATCHES_PER_TOKEN = 4  # 2 x 2 patches are merged into one token
PATCH_VALUES = 3 * 16 * 16 * 2
LIVE_HIDDEN, LIVE_INTERMEDIATE = 6, 3  # live tensors of these widths per layer without gradients
IMAGE_PIXELS_PER_TOKEN = 32 * 32
INFERENCE_CONTEXT = 128_000


@dataclass(frozen=True)
class Found:
    """A checkpoint, described by its config only.

    Attributes:
        architecture: what meta_network.whole names of transformers' Qwen3VLConfig, by the same names.
        parameters: of the whole model.
        vision_parameters: of its vision tower.
        dtype: of the weights, as the config names it.

    """

    architecture: Any
    parameters: int
    vision_parameters: int
    dtype: str


@dataclass(frozen=True)
class Prompts:
    """A batch of the longest prompts and the maximum length of their answers, in tokens."""

    batch: int
    vision_tokens: int
    max_length: int
    new_tokens: int

    @property
    def prompt_tokens(self) -> int:
        """Tokens of one prompt: the maximum of the pixel budget, plus some text."""
        return min(self.vision_tokens + TEXT_TOKENS, max(1, self.max_length - self.new_tokens))

    @property
    def cached_tokens(self) -> int:
        """Tokens of a whole batch with answers of maximum length."""
        return self.batch * (self.prompt_tokens + self.new_tokens)


def inspect_evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Return the memory of an evaluation per GPU; for its own server, the minimum.

    Raises:
        UnknownNameError, BlockedError: see `architectures.find`.

    """
    model, engine = config.model, config.evaluation.engine
    vision_tokens = config.vision.total_pixels // PIXELS_PER_TOKEN
    batch = config.evaluation.batch_size if engine == "transformers" else 1
    prompts = Prompts(batch, vision_tokens, model.max_length, config.generation.max_tokens)
    adapter = model.model_name if model.enable_lora else None
    fix = "Lower evaluation.batch_size (10, then 1), then vision.total_pixels, then generation.max_tokens."
    found = _document(model.base_model_path if adapter else model.model_name, adapter, prompts, (model.dtype, fix))
    if engine == "vllm" and config.evaluation.vllm.base_url:
        found["memory_bytes_per_gpu"] = {}  # the model is on the server
    return found


def inspect_inference(config: InferenceConfig) -> dict[str, Any]:
    """Return the memory of one answer on its GPU. Raises UnknownNameError and BlockedError as `architectures.find`."""
    per_token = PIXELS_PER_TOKEN if config.type == "video" else IMAGE_PIXELS_PER_TOKEN
    prompts = Prompts(1, config.total_pixels // per_token, INFERENCE_CONTEXT, config.max_new_tokens)
    adapter = config.model_path if config.enable_lora else None
    fix = "Lower total_pixels or max_new_tokens, or set torch_dtype=bfloat16."
    return _document(
        config.base_model_path if adapter else config.model_path, adapter, prompts, (config.torch_dtype, fix)
    )


def cache_bytes(text: Any, tokens: int, dtype_bytes: int) -> int:
    """Return the size of the key-value cache: text is the text_config of an architecture."""
    return int(2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * tokens * dtype_bytes)


def prefill_bytes(architecture: Any, prompts: Prompts, dtype_bytes: int) -> int:
    """Return the peak memory of the forward pass over a batch of prompts, without weights and cache."""
    text, vision = architecture.text_config, architecture.vision_config
    tokens = prompts.batch * prompts.prompt_tokens
    mask = prompts.batch * prompts.prompt_tokens**2
    layer = LIVE_HIDDEN * text.hidden_size + LIVE_INTERMEDIATE * text.intermediate_size
    language = tokens * layer * dtype_bytes + mask + prompts.batch * text.vocab_size * (dtype_bytes + FLOAT32)
    patches = prompts.batch * prompts.vision_tokens * PATCHES_PER_TOKEN
    tower = LIVE_HIDDEN * vision.hidden_size + LIVE_INTERMEDIATE * vision.intermediate_size
    features = prompts.batch * prompts.vision_tokens * vision.out_hidden_size * dtype_bytes
    features *= 1 + len(vision.deepstack_visual_indexes)
    pixels = patches * PATCH_VALUES * (FLOAT32 + dtype_bytes)
    return int(pixels + features + max(language, patches * tower * dtype_bytes))


def read(uri: str) -> Found:
    """Return the model described by a checkpoint's config. Raises as `architectures.find` does."""
    found = architectures.find(uri)

    def build() -> dict[str, Any]:
        from tao_skill_bank.models.cosmos_reason import meta_network

        return meta_network.whole(found)

    facts = inspection.remembered(json.dumps(found, sort_keys=True), build)
    architecture = SimpleNamespace(
        model_type=facts["model_type"],
        text_config=SimpleNamespace(**facts["text"]),
        vision_config=SimpleNamespace(**facts["vision"]),
    )
    dtype = str(found.get("dtype") or found.get("torch_dtype") or "bfloat16")
    return Found(architecture, facts["parameters"], facts["vision_parameters"], dtype)


def size_of(adapter: str | None) -> int:
    """Return the bytes of a local adapter; it is in memory with the base until it is merged."""
    return sum(path.stat().st_size for path in Path(adapter).glob("adapter_model.*")) if adapter else 0


def _document(uri: str, adapter: str | None, prompts: Prompts, how: tuple[str, str]) -> dict[str, Any]:
    dtype, fix = how
    found = read(uri)
    width = BYTES[dtype if dtype in BYTES else found.dtype]
    parts = {
        "weights": found.parameters * width,
        "adapter": size_of(adapter),
        "cache": cache_bytes(found.architecture.text_config, prompts.cached_tokens, width),
        "activations": prefill_bytes(found.architecture, prompts, width),
    }
    return {
        "model_type": found.architecture.model_type,
        "parameters": found.parameters,
        "memory_bytes_per_gpu": {**parts, "total": sum(parts.values())},
        "cure": fix,
    }


ACTIONS: dict[str, tuple[type[Any], Any]] = {
    "evaluate": (EvaluateConfig, inspect_evaluate),
    "inference": (InferenceConfig, inspect_inference),
}
