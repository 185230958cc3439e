"""What decides an embedding: the space that it is in, and its own content."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.models.cosmos_reason import architectures
from tao_skill_bank.models.cosmos_reason.config import EmbedConfig
from tao_skill_bank.models.cosmos_reason.conversation import sampling_of
from tao_skill_bank.models.cosmos_reason.data import Records
from tao_skill_bank.models.cosmos_reason.embedding import tower_adapters
from tao_skill_bank.models.cosmos_reason.embedding.rows import Row
from tao_skill_bank.training.content_hash import content_hash
from tao_skill_bank.training.distributed import Ranks
from tao_skill_bank.weights.safetensors_files import fingerprint

METHOD = 1  # raised when other vectors are computed from the same input
NUM_HASHERS = 8


@dataclass(frozen=True)
class Space:
    """Everything that the vectors of one file have in common; those of another space are not compared with them.

    Attributes:
        settings: what the file says of itself, without the dimension.
        dtype: that of the computation, which the distances do not depend on.

    """

    settings: Mapping[str, Any]
    dtype: str

    def key(self, row: Row, contents: Mapping[str, str | None], records: Records) -> str:
        """Return a hash of everything that decides the vector of a row."""
        shown = [
            {
                **asdict(item),
                "name": "",
                "frames": [contents[name] or name for name in item.files],
                "vision": asdict(sampling_of(records.presentation.vision, item)),
            }
            for item in row.media
        ]
        messages = row.prompt.messages if row.prompt else None
        decides = [dict(self.settings), self.dtype, shown, messages]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]


def space_of(config: EmbedConfig, base: Path, dtype: str) -> Space:
    """Return the space of a spec's embeddings. `base` is the folder of the checkpoint, of an adapter that of its base.

    Of a vision embedding only the tower counts: a training that leaves it as it is changes none of them.
    """
    is_joint, chosen = config.embedding.kind == "joint", config.model
    adapter = Path(chosen.model_name) if chosen.enable_lora else None
    counts = adapter is not None and (is_joint or tower_adapters.is_changed_by(adapter))
    shows_media = not is_joint or config.embedding.content != "question"
    settings: dict[str, Any] = {
        "model": architectures.MODEL_TYPE,
        "checkpoint": fingerprint(base, "" if is_joint else tower_adapters.PART),
        "adapter": fingerprint(adapter) if adapter is not None and counts else None,
        "kind": config.embedding.kind,
        "method": METHOD,
    }
    if is_joint:
        settings["system_prompt"] = config.dataset.system_prompt
    if shows_media:
        settings["vision"] = asdict(config.vision)
    return Space(settings, dtype)


def contents_of(records: Records, rows: Sequence[Row], ranks: Ranks) -> dict[str, str | None]:
    """Return the SHA-256 of every file of some rows by its name; None for one that cannot be read. Split over ranks."""
    shown = (name for row in rows for item in row.media for name in item.files)
    stood_for = (row.file for row in rows if row.file is not None)
    own = sorted({*shown, *stood_for})[ranks.rank :: ranks.world]
    with ThreadPoolExecutor(NUM_HASHERS) as pool:
        hashes = dict(zip(own, pool.map(lambda name: _content(records.folder / name), own), strict=True))
    return {name: content for part in ranks.gather(hashes) for name, content in part.items()}


def _content(path: Path) -> str | None:
    try:
        return content_hash(path)
    except OSError:
        return None  # reported when it is decoded
