"""What memory and disk of a training depend on in its spec; needs no torch."""

from tao_skill_bank.bank.step_limit import Length
from tao_skill_bank.models.cosmos_reason.config.train import Train, TrainConfig
from tao_skill_bank.models.cosmos_reason.memory import BYTES, SHARES, Setup

FREE_BYTES = 10 * 2**30  # always left free on the disk of the feature cache


def needs_sharding(config: TrainConfig) -> bool:
    """Return whether FSDP is needed: to shard weights, to offload them, or to keep them in another dtype.

    Adapters do not need it with one shard: they are cast where they are used, and their gradients are small.
    """
    train, lora, sizes = config.train, config.policy.lora, config.policy.parallelism
    if sizes.dp_shard_size > 1 or train.fsdp_offload:
        return True
    if lora and not lora.modules_to_save:
        return False
    return sizes.dp_replicate_size > 1 or train.master_dtype != train.param_dtype


def setup_of(config: TrainConfig, *, features_cached: bool) -> Setup:
    """Return the memory-relevant settings of a spec."""
    train = config.train
    return Setup(
        param_bytes=BYTES[train.param_dtype],
        master_bytes=BYTES[train.master_dtype],
        shards=config.policy.parallelism.dp_shard_size,
        offload=train.fsdp_offload,
        uses_fsdp=needs_sharding(config),
        features_cached=features_cached,
    )


def allowed_shares(config: TrainConfig) -> tuple[float, ...]:
    """Return the shares of recomputed layers that the spec allows."""
    wanted = config.policy.model_gradient_checkpointing
    return SHARES if wanted == "auto" else (float(wanted),)


def length_of(settings: Train) -> Length:
    """Return how long the spec's training is."""
    return Length(settings.epoch, settings.stop_epoch, settings.max_steps)


def wants_feature_cache(config: TrainConfig, steps_per_epoch: int = 1) -> bool:
    """Return whether the spec enables the feature cache: with one epoch, the tower runs only once anyway.

    Where the steps of an epoch are not known, a training of several steps may have several epochs.
    """
    wanted = config.train.train_policy.vision_feature_cache
    scheduled = length_of(config.train).scheduled_steps(steps_per_epoch)
    return wanted == "on" or (wanted == "auto" and scheduled > steps_per_epoch)
