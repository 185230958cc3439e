"""The size of the feature cache of a training: per token from the model, tokens from the sampled records."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Job
from tao_skill_bank.core import settings
from tao_skill_bank.core.findings import size
from tao_skill_bank.data.kinds import Seen
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.preflight.model.inspection import Inspection, sibling_module


@dataclass(frozen=True)
class FeatureCache:
    """The cache on disk of a frozen model part's features, for every medium of the datasets.

    Attributes:
        folder: where the cache lies; None on machines that cannot be inspected from here.
        spare_bytes: what a run leaves free on that disk.
        is_required: a run without room for the cache stops, instead of doing without it.
        fix: what a user can do when the cache does not fit.

    """

    num_media: int
    num_bytes: int
    folder: Path | None
    spare_bytes: int = 0
    is_required: bool = False
    fix: str = ""

    @property
    def summary(self) -> str:
        return f"vision features of {self.num_media} media take about {size(self.num_bytes)}"

    def bytes_there(self) -> int:
        """Return the size of what the folder holds already, of these media or others."""
        files = self.folder.rglob("*") if self.folder else ()
        return sum(file.stat().st_size for file in files if file.is_file())


def estimate(
    job: Job, inspection: Inspection, inputs: Sequence[Seen], records: Sequence[Probed], *, runs_here: bool
) -> FeatureCache | None:
    """Return the cache that the run will write, by the mean of the sampled media; None without a cache or samples."""
    answer = inspection.answer.get("kept_features")
    num_media = sum(seen.num_media for seen in inputs)
    tokens = _tokens_per_medium(job, records) if answer else None
    if not answer or not tokens or not num_media:
        return None
    return FeatureCache(
        num_media=num_media,
        num_bytes=round(num_media * tokens * answer["bytes_per_token"]),
        folder=settings.features_dir() if runs_here else None,
        spare_bytes=answer["spare_bytes"],
        is_required=answer["required"],
        fix=answer["cure"],
    )


def _tokens_per_medium(job: Job, records: Sequence[Probed]) -> float | None:
    name = sibling_module(job, "record_tokens")
    if name is None:
        return None
    model: Any = import_module(name)
    total = count = 0
    for record in records:
        try:
            total += model.feature_tokens(job.spec, record.record, record.probes)
        except BlockedError:
            continue  # the token budget says why it cannot be sampled
        count += len(record.probes)
    return total / count if count else None
