"""What one run embeds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tao_skill_bank.models.cosmos_reason.config import EmbedConfig
from tao_skill_bank.models.cosmos_reason.data import Records
from tao_skill_bank.models.cosmos_reason.embedding.identity import Space
from tao_skill_bank.models.cosmos_reason.embedding.rows import Row
from tao_skill_bank.training.bad_samples import SkipLog
from tao_skill_bank.training.entrypoint import Run

PARTS = "parts"


@dataclass(frozen=True)
class Work:
    """The rows of a run, and what decides their vectors.

    Attributes:
        keys: of every row, a hash of what decides its vector.
        contents: SHA-256 of the file that every row stands for; None without one.
        base: folder of the checkpoint, of an adapter that of its base.
        log: the records that are left out.
        began: monotonic seconds.

    """

    config: EmbedConfig
    run: Run
    records: Records
    rows: Sequence[Row]
    keys: Sequence[str]
    contents: Sequence[str | None]
    space: Space
    base: Path
    log: SkipLog
    began: float = field(default_factory=time.monotonic)

    @property
    def dtype(self) -> torch.dtype:
        """The type of weights and activations."""
        found: torch.dtype = getattr(torch, self.space.dtype)
        return found

    @property
    def folder(self) -> Path:
        """Where vectors are saved while the run embeds."""
        return self.run.results_dir / PARTS
