"""What each program loads before it works, and which extras of those libraries its spec leaves unused."""

from tao_skill_bank.models.cosmos_reason.config import (
    EmbedConfig,
    EvaluateConfig,
    ExportConfig,
    InferenceConfig,
    TrainConfig,
)
from tao_skill_bank.training import imports

NETWORK = "transformers.models.qwen3_vl.modeling_qwen3_vl"
ADAPTERS = "peft"


def for_training(config: TrainConfig) -> None:
    """Load what a training uses."""
    lora, float8 = config.policy.lora, config.train.fp8.enable_fp8
    is_quantized = imports.needs_quantization(config.policy.model_name_or_path)
    is_quantized |= float8 or bool(lora and lora.load_in_4bit)
    _load(adapts=lora is not None, is_quantized=is_quantized)


def for_evaluation(config: EvaluateConfig) -> None:
    """Load what an evaluation uses that generates here."""
    if config.evaluation.engine == "transformers":
        _for_checkpoint(config.model.model_name, config.model.base_model_path, adapts=config.model.enable_lora)


def for_embedding(config: EmbedConfig) -> None:
    """Load what embeddings use."""
    _for_checkpoint(config.model.model_name, config.model.base_model_path, adapts=config.model.enable_lora)


def for_inference(config: InferenceConfig) -> None:
    """Load what an answer uses."""
    _for_checkpoint(config.model_path, config.base_model_path, adapts=config.enable_lora)


def for_export(config: ExportConfig) -> None:
    """Load what an export uses."""
    _for_checkpoint(config.model_path, config.base_model_path, adapts=config.enable_lora)


def _for_checkpoint(model: str, base: str, *, adapts: bool) -> None:
    _load(adapts=adapts, is_quantized=imports.needs_quantization(base if adapts else model))


def _load(*, adapts: bool, is_quantized: bool) -> None:
    without = imports.OTHER if is_quantized else (*imports.OTHER, *imports.QUANTIZATION)
    imports.load([NETWORK, *([ADAPTERS] if adapts else [])], without=without)
