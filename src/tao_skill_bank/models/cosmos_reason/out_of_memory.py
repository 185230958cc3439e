"""What each action holds on a GPU, and which of its spec keys lower that."""

from tao_skill_bank.models.cosmos_reason.config import EmbedConfig, EvaluateConfig, InferenceConfig, TrainConfig


def of_evaluation(config: EvaluateConfig) -> tuple[str, str]:
    """Return what an evaluation keeps in memory, and the keys that reduce it, cheapest first."""
    size, pixels, adapted = config.evaluation.batch_size, config.vision.total_pixels, config.model.enable_lora
    remedies = [f"lower evaluation.batch_size from {size} to {max(1, size // 4)}"] if size > 1 else []
    remedies.append(f"lower vision.total_pixels from {pixels} to {pixels // 2}")
    if adapted:
        remedies.append("merge the adapter first (action export) and evaluate the merged checkpoint")
    what = "the base model, its adapter" if adapted else "the model"
    return f"{what} and {size} question(s) at a time", _sentence(remedies)


def of_embedding(config: EmbedConfig) -> tuple[str, str]:
    """Return what embeddings keep in memory, and the keys that reduce it."""
    tokens, pixels = config.embedding.batch_tokens, config.vision.total_pixels
    remedies = [f"lower embedding.batch_tokens from {tokens} to {max(1, tokens // 4)}"]
    remedies.append(f"lower vision.total_pixels from {pixels} to {pixels // 2}")
    what = "the model" if config.embedding.kind == "joint" else "the vision tower"
    return f"{what} and {tokens} tokens at a time", _sentence(remedies)


def of_inference(config: InferenceConfig) -> tuple[str, str]:
    """Return what an answer keeps in memory, and the keys that reduce it."""
    remedies = [f"lower total_pixels from {config.total_pixels} to {config.total_pixels // 2}"]
    if config.torch_dtype != "bfloat16":
        remedies.append("set torch_dtype=bfloat16")
    return "the model and one prompt", _sentence(remedies)


def of_training(config: TrainConfig, samples: int, recompute: float) -> tuple[str, str]:
    """Return what a training step keeps in memory, and the next settings to try, those that cost least speed first."""
    shards = config.policy.parallelism.dp_shard_size
    remedies = []
    if samples > 1:
        remedies.append(f"set train.train_policy.mini_batch={samples // 2}")
    if recompute < 1:
        share = min(1.0, recompute + 0.25)
        remedies.append(f"set policy.model_gradient_checkpointing={'true' if share == 1 else share}")
    remedies.append(f"set policy.parallelism.dp_shard_size={2 * shards} on twice as many GPUs")
    remedies.append(f"lower custom.vision.total_pixels from {config.custom.vision.total_pixels}")
    return f"a micro-batch of {samples} with {recompute:.0%} of the blocks checkpointed", _sentence(remedies)


def _sentence(remedies: list[str]) -> str:
    joined = "; then ".join(remedies)
    return f"{joined[0].upper()}{joined[1:]}."
