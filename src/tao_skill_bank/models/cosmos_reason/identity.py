"""The data fingerprint that checkpoints record: a resumed training must have the same."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.data import Record
from tao_skill_bank.training.resume import digest
from tao_skill_bank.weights.safetensors_files import fingerprint

BASE = "the base model (sha256)"
NUM_RECORDS = "the number of training records"
RECORDS = "the content of the training records (sha256)"
BATCH = "train.train_batch_per_replica x ranks"


def of(config: TrainConfig, records: Sequence[Record], base: Path, world: int) -> dict[str, Any]:
    """Return what determines the samples of every step. The number of ranks may change if a step's samples do not."""
    settings, vision = config.train, asdict(config.custom.vision)
    return {
        NUM_RECORDS: len(records),
        RECORDS: digest(records),
        BASE: fingerprint(base),
        "train.seed": settings.seed,
        BATCH: settings.train_batch_per_replica * world,
        "train.train_policy.dataset.test_size": settings.train_policy.dataset.test_size,
        "train.train_policy.conversation_column_name": settings.train_policy.conversation_column_name,
        "policy.model_max_length": config.policy.model_max_length,
        "custom.system_prompt": config.custom.system_prompt,
        **{f"custom.vision.{name}": value for name, value in vision.items()},
    }
