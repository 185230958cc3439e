"""What a training is fed with, as its checkpoints record it: a resumed one must be fed with the same."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.data import Records
from tao_skill_bank.safetensors_files import fingerprint
from tao_skill_bank.training.resume import digest


def of(config: TrainConfig, records: Records, base: Path, world: int) -> dict[str, Any]:
    """Return what decides the samples of every step. The number of ranks does not, as long as a step's samples stay."""
    settings, vision = config.train, asdict(config.custom.vision)
    return {
        "the number of training records": len(records),
        "the content of the training records (sha256)": digest(records.records),
        "the base model (sha256)": fingerprint(base),
        "train.seed": settings.seed,
        "train.train_batch_per_replica x ranks": settings.train_batch_per_replica * world,
        "train.train_policy.dataset.test_size": settings.train_policy.dataset.test_size,
        "train.train_policy.conversation_column_name": settings.train_policy.conversation_column_name,
        "policy.model_max_length": config.policy.model_max_length,
        "custom.system_prompt": config.custom.system_prompt,
        **{f"custom.vision.{name}": value for name, value in vision.items()},
    }
