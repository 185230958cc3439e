"""Predicts the memory of quantization: the weights in bfloat16, plus the most demanding step.

Counted from the architecture, as generation_memory.py does: testing (the sanity question, held-out records),
calibrating (one whole record at a time, its layer inputs in float32), finding scales (one layer at a time in float32).
"""

from typing import Any

from tao_skill_bank.models.cosmos_reason import generation_memory
from tao_skill_bank.models.cosmos_reason.config import QuantizeConfig
from tao_skill_bank.models.cosmos_reason.generation_memory import FLOAT32, PIXELS_PER_TOKEN, Prompts

BATCH = 8
WIDTH = 2  # bytes of a weight in bfloat16, whatever the checkpoint has (quantize.DTYPE)
OBSERVED_COPIES = 2  # float32 copies of a layer's input for its statistics
SCALED_COPIES = 9  # float32 copies of a layer while its rounding error is computed: 8.9 measured (scales.py)
SMALLEST_GROUP = {"NVFP4": 16}  # weights that share a scale; 32 is the smallest group of the others (scheme.py)
LABELS, LOGIT_BYTES = 128, 8  # labelled tokens of an answer, and the bytes of one of their logits with its log


def inspect_quantize(config: QuantizeConfig) -> dict[str, Any]:
    """Return the memory of a quantization on its GPU.

    Raises:
        UnknownNameError, BlockedError: see `architectures.find`.

    """
    options, source = config.quantize, config.model
    adapter = source.model_path if source.enable_lora else None
    found = generation_memory.read(source.base_model_path if adapter else source.model_path)
    text = found.architecture.text_config
    largest = text.hidden_size * text.intermediate_size
    linear = found.parameters - text.vocab_size * text.hidden_size  # an upper bound: includes the vision tower
    steps = _steps(config, found.architecture) | {"scales": SCALED_COPIES * FLOAT32 * largest}
    step = max(steps, key=lambda name: steps[name])
    parts = {
        "weights": found.parameters * WIDTH,
        "adapter": generation_memory.size_of(adapter),
        "scales": linear // SMALLEST_GROUP.get(options.quantization_scheme, 32) * WIDTH,
        "activations": steps[step],
    }
    return {
        "model_type": found.architecture.model_type,
        "parameters": found.parameters,
        "memory_bytes_per_gpu": {**parts, "total": sum(parts.values())},
        "cure": FIXES[step],
    }


def _steps(config: QuantizeConfig, architecture: Any) -> dict[str, int]:
    """Return the memory of the steps that run the model, without its weights."""
    options, text = config.quantize, architecture.text_config
    vision_tokens, limit = config.vision.total_pixels // PIXELS_PER_TOKEN, options.max_sequence_length
    record = Prompts(1, vision_tokens, limit, 0)
    observed = OBSERVED_COPIES * FLOAT32 * record.prompt_tokens * text.intermediate_size
    steps = {"calibration": generation_memory.prefill_bytes(architecture, record, WIDTH) + observed}
    batches = {"generation": 0 if options.skip_test_generation else 1}
    batches |= {"evaluation": BATCH} if config.dataset else {}
    for name, batch in batches.items():
        prompts = Prompts(batch, vision_tokens, limit + options.max_new_tokens, options.max_new_tokens)
        cache = generation_memory.cache_bytes(text, prompts.cached_tokens, WIDTH)
        answering = cache + generation_memory.prefill_bytes(architecture, prompts, WIDTH)
        whole = Prompts(batch, vision_tokens, limit, 0)
        logits = batch * LABELS * text.vocab_size * LOGIT_BYTES
        scoring = generation_memory.prefill_bytes(architecture, whole, WIDTH) + logits
        steps[name] = max(answering, scoring if name == "evaluation" else 0) if batch else 0
    return steps


_ELSEWHERE = "use a device with more memory; the CPU works, slowly (--option device=cpu)."
FIXES = {
    "calibration": f"Lower vision.total_pixels, or {_ELSEWHERE}",
    "generation": f"Set quantize.skip_test_generation=true, lower quantize.max_new_tokens, or {_ELSEWHERE}",
    "evaluation": "Evaluate the held-out data (--eval) with the evaluate action instead, lower vision.total_pixels or "
    f"quantize.max_new_tokens, or {_ELSEWHERE}",
    "scales": f"Use a smaller model, or {_ELSEWHERE}",
}
ACTIONS: dict[str, tuple[type[Any], Any]] = {"quantize": (QuantizeConfig, inspect_quantize)}
