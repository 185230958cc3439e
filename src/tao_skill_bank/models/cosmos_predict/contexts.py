"""Text contexts of captions: encoded once and cached on disk and in host memory, or encoded on the fly."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tao_skill_bank.models.cosmos_predict import cache, pipeline, text
from tao_skill_bank.models.cosmos_predict.cache import Cache
from tao_skill_bank.models.cosmos_predict.latents import Base, release
from tao_skill_bank.training.content_hash import content_hash
from tao_skill_bank.training.entrypoint import Run

logger = logging.getLogger(__name__)
CONTEXTS = Cache("contexts")


@dataclass
class Contexts:
    """Contexts (512, F) by caption, that of a dropped caption, and the encoder if nothing is cached."""

    device: torch.device
    null: Tensor
    kept: dict[str, Tensor] = field(default_factory=dict)
    encoder: Any = None
    tokenizer: Any = None
    projector: Any = None

    def of(self, captions: Sequence[str], dropped: Tensor | None = None) -> Tensor:
        """Return the contexts (B, 512, F) of captions on the device, the null context where `dropped` (B,) is true."""
        if self.encoder is None:
            found = torch.stack([self.kept[caption] for caption in captions]).to(self.device, non_blocking=True)
        else:
            found = text.encode_contexts(self.projector, self.encoder, self.tokenizer, captions)
        if dropped is None:
            return found
        return torch.where(dropped.to(self.device)[:, None, None], self.null, found)


def prepare(captions: Sequence[str], base: Base, run: Run, *, keep: bool) -> Contexts:
    """Encode the captions that are not cached, split over the ranks, and free the text encoder.

    Args:
        captions: all texts that will be requested.
        base: the frozen pipeline.
        run: for ranks.
        keep: whether contexts are cached; otherwise the text encoder stays loaded and encodes in every step.

    """
    ranks = run.ranks
    where = (base.folder, base.dtype, ranks.device, base.variant)
    projector = pipeline.load_context_projection(*where)
    num_features = 0
    if not projector.config.use_crossattn_projection:
        num_features = int(pipeline.read_transformer_config(base.folder)["text_embed_dim"])
    contexts = Contexts(ranks.device, text.null_context(projector, num_features).to(ranks.device, base.dtype))
    every = sorted(set(captions))
    identity = f"{base.identity('text_encoder')} {base.identity('transformer')} {_tokenizer_identity(base.folder)}"
    keys = {caption: cache.key_of("context", identity, caption) for caption in every}
    mine = every[ranks.rank :: ranks.world]
    missing = CONTEXTS.missing(keys[caption] for caption in mine)
    if missing or not keep:
        run.status.phase("loading the text encoder")
        encoder, tokenizer = pipeline.load_text_encoder(*where)
        if not keep:
            contexts.encoder, contexts.tokenizer, contexts.projector = encoder, tokenizer, projector
            return contexts

        def make(position: int) -> Tensor:
            return text.encode_contexts(projector, encoder, tokenizer, [mine[position]])[0]

        cache.fill(
            CONTEXTS,
            [keys[caption] for caption in mine],
            make,
            lambda done, of: _report(run, done, of),
        )
        del encoder, make
        release()
    ranks.barrier()
    contexts.kept = {caption: CONTEXTS.load(key) for caption, key in keys.items()}
    return contexts


def _report(run: Run, done: int, total: int) -> None:
    run.status.phase("encoding captions", done, total)
    logger.info("encoded %d of %d captions", done, total)


def _tokenizer_identity(folder: Path) -> str:
    """Return the identity of a tokenizer: its vocabulary, settings and chat template."""
    return " ".join(content_hash(file) for file in sorted((folder / "tokenizer").iterdir()) if file.is_file())
