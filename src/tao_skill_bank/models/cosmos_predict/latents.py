"""Latents of windows: encoded once and cached on disk, or encoded on the fly."""

import gc
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.models.cosmos_predict import cache, clips, pipeline
from tao_skill_bank.models.cosmos_predict.batches import Item
from tao_skill_bank.models.cosmos_predict.cache import Cache
from tao_skill_bank.training import bad_samples
from tao_skill_bank.training.bad_samples import Skip
from tao_skill_bank.training.content_hash import content_hash
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.weights.safetensors_files import fingerprint

logger = logging.getLogger(__name__)
LATENTS = Cache("latents")


@dataclass(frozen=True)
class Base:
    """The frozen pipeline: its folder, the dtype of its weights, and the file variant."""

    folder: Path
    dtype: torch.dtype
    variant: str | None = None

    def identity(self, part: str) -> str:
        """Return the identity of a part: a hash of its weights and its settings."""
        settings = (self.folder / part / "config.json").read_text(encoding="utf-8")
        return f"{fingerprint(self.folder / part)} {self.variant} {self.dtype} {settings}"


@dataclass
class Latents:
    """The source of the latents of (item, first frame). `vae` is None when all are cached on disk."""

    base: Base
    num_frames: int
    device: torch.device
    keys: dict[tuple[str, int], str] = field(default_factory=dict)
    vae: Any = None
    unreadable: tuple[Skip, ...] = ()

    def load(self, item: Item, start: int) -> Tensor:
        """Return cached latents (C, T, h, w), or pixels (3, F, H, W) as input of `encode`. Thread-safe."""
        key = self.keys.get((str(item.video), start))
        if key is not None:
            return LATENTS.load(key)
        return clips.load_window(item.video, start, self.num_frames, item.size)

    def encode(self, loaded: Tensor) -> Tensor:
        """Return a batch of `load` results as latents (B, C, T, h, w) in float32 on the device."""
        moved = loaded.to(self.device, non_blocking=True)
        if loaded.shape[1] != 3:
            return moved.float()
        return pipeline.encode_latents(self.vae, moved)


def prepare(
    windows: Iterable[tuple[Item, int]], latents: Latents, run: Run, *, keep: bool, lenient: Collection[Item] = ()
) -> Latents:
    """Encode the windows that are not cached, split over the ranks; without `keep` only load the VAE.

    Args:
        windows: (item, first frame) of everything that will be loaded.
        latents: receives the keys, or the VAE.
        run: for ranks and progress.
        keep: whether latents are cached on disk.
        lenient: clips that may be skipped: those that cannot be decoded are noted in `latents.unreadable`.

    """
    base, ranks = latents.base, run.ranks
    if not keep:
        run.status.phase("loading the video encoder")
        latents.vae = pipeline.load_vae(base.folder, base.dtype, latents.device, base.variant)
        return latents
    every = sorted(set(windows), key=lambda window: (window[0].name, str(window[0].video), window[1]))
    run.status.phase("looking for cached windows")
    identity = base.identity("vae")
    for item, start in every:
        content = content_hash(item.video)
        key = cache.key_of("latents", identity, content, start, latents.num_frames, item.size)
        latents.keys[str(item.video), start] = key
    mine = every[ranks.rank :: ranks.world]
    failed: dict[int, Skip] = {}
    keys = [latents.keys[str(item.video), start] for item, start in mine]
    if LATENTS.missing(keys):
        vae = pipeline.load_vae(base.folder, base.dtype, latents.device, base.variant)

        def make(position: int) -> Tensor | None:
            item, start = mine[position]
            try:
                pixels = bad_samples.read(
                    lambda _: clips.load_window(item.video, start, latents.num_frames, item.size), (item.index,)
                )[0]
            except BlockedError as error:
                if item not in lenient or isinstance(error, MissingExtraError):
                    raise
                problem = error.problems[0]
                failed[item.index] = Skip(item.index, problem.code, problem.message, problem.path)
                return None
            return pipeline.encode_latents(vae, pixels[None])[0].to(base.dtype)

        cache.fill(LATENTS, keys, make, lambda done, of: _report(run, done, of))
        del vae
        release()
    gathered = {index: skip for found in ranks.gather(failed) for index, skip in found.items()}
    latents.unreadable = tuple(gathered[index] for index in sorted(gathered))
    return latents


def release() -> None:
    """Free the GPU memory of models that are no longer used."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _report(run: Run, done: int, total: int) -> None:
    run.status.phase("encoding windows", done, total)
    if done == total or done % 10 == 0:
        logger.info("encoded %d of %d latents", done, total)
