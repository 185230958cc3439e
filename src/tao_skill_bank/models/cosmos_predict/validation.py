"""The loss on held-out clips, at fixed noise and times, and sample videos of a few of them."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from tao_skill_bank.models.cosmos_predict import flow, latents, pipeline, sampler, video_file
from tao_skill_bank.models.cosmos_predict.batches import Item, Windows
from tao_skill_bank.models.cosmos_predict.config import TrainConfig
from tao_skill_bank.models.cosmos_predict.contexts import Contexts
from tao_skill_bank.models.cosmos_predict.flow import Draw, Predict
from tao_skill_bank.models.cosmos_predict.latents import Latents
from tao_skill_bank.training.entrypoint import Run

logger = logging.getLogger(__name__)
NUMBERS_PER_CLIP = 10_000  # seeds of one clip's noises


class HeldOut:
    """The held-out clips and their scoring. Every rank has all of them and scores its share."""

    def __init__(self, config: TrainConfig, items: Sequence[Item], material: tuple[Latents, Contexts]) -> None:
        self.config, self.items = config, items
        self.latents, self.contexts = material
        self.windows = Windows(config.dataset.num_frames, config.train.seed, kept=1)

    @torch.no_grad()
    def loss(self, predict: Predict, run: Run) -> float:
        """Return the mean loss over clips and noise levels. Every rank calls this; `predict` is not wrapped in DDP."""
        settings = self.config.flow
        num_levels = self.config.validation.num_samples
        levels = flow.shifted(flow.even_times(num_levels, settings.time_distribution), settings.shift)
        given = [int(count) for count, share in sorted(settings.conditional_frames_probs.items()) if share > 0]
        total, count = 0.0, 0
        for item in self.items[run.ranks.rank :: run.ranks.world]:
            clean = self.latents.encode(self._load(item)[None])
            context = self.contexts.of([item.caption])
            for number, level in enumerate(levels):
                noise = sampler.noise(clean.shape[1:], [item.index * NUMBERS_PER_CLIP + number])
                draw = Draw(
                    noise=noise.to(clean),
                    sigma=level[None].to(clean),
                    conditioned=torch.tensor([given[(item.index + number) % len(given)]]),
                    dropped=torch.zeros(1, dtype=torch.bool),
                )
                total += flow.losses(
                    predict, clean, context, draw, settings.conditional_frame_timestep
                ).predicted.item()
                count += 1
        summed, counted = run.ranks.sum([total, count])
        return summed / counted

    @torch.no_grad()
    def sample_videos(self, predict: Predict, folder: Path, negative: str, run: Run) -> None:
        """Generate the first few clips from their first latent frame into `folder`.

        Each rank generates its share independently: there are no collectives here that ranks could disagree about.
        """
        ranks, base = run.ranks, self.latents.base
        mine = self.items[: self.config.validation.sample_videos][ranks.rank :: ranks.world]
        if not mine:
            return
        logger.info("rank %d generates %d sample videos into %s", ranks.rank, len(mine), folder)
        vae = self.latents.vae or pipeline.load_vae(base.folder, base.dtype, ranks.device, base.variant)
        settings = sampler.Sampling(
            self.config.validation.sample_steps,
            conditional_frame_timestep=self.config.flow.conditional_frame_timestep,
        )
        for item in mine:
            clean = self.latents.encode(self._load(item)[None])
            start = sampler.noise(clean.shape[1:], [item.index]).to(ranks.device)
            contexts = sampler.Contexts(self.contexts.of([item.caption]), self.contexts.of([negative]))
            scheduler = pipeline.load_scheduler(base.folder)
            made = sampler.sample(predict, scheduler, start, [clean[0, :, :1]], contexts, settings)
            frames = video_file.to_frames(pipeline.decode_latents(vae, made)[0])
            video_file.write(folder / f"{item.name}.mp4", frames, self.config.dataset.fps)
        if self.latents.vae is None:
            del vae
            latents.release()

    def _load(self, item: Item) -> torch.Tensor:
        return self.latents.load(item, self.windows.starts(item)[0])
