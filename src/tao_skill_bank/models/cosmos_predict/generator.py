"""Generates videos on one rank; models are loaded one after another, so that the largest determines peak memory."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tao_skill_bank.data.prompt_pairs import Prompt
from tao_skill_bank.models.cosmos_predict import (
    adapter_folder,
    conditions,
    fusing,
    generation_plan,
    pipeline,
    sampler,
    text,
    video_file,
)
from tao_skill_bank.models.cosmos_predict.config import GenerateConfig
from tao_skill_bank.models.cosmos_predict.generation_plan import Variant, Video
from tao_skill_bank.models.cosmos_predict.geometry import ClipShape
from tao_skill_bank.models.cosmos_predict.sampler import Contexts, Sampling
from tao_skill_bank.models.cosmos_predict.transformer import Denoiser, Execution
from tao_skill_bank.models.cosmos_predict.video_file import Frames
from tao_skill_bank.training.distributed import Ranks
from tao_skill_bank.weights import adapter_files

COMPILE_FROM_PASSES = 400  # transformer passes per variant and rank above which compiling (a minute) pays off


@dataclass(frozen=True)
class Prepared:
    """Precomputed inputs on the host: contexts by prompt text, first latents by prompt name."""

    contexts: dict[str, Tensor]
    negative: Tensor | None
    first_latents: dict[str, Tensor | None]


@dataclass(frozen=True)
class Place:
    """Where the models come from and where they run."""

    folder: Path
    ranks: Ranks
    dtype: torch.dtype
    variant: str | None = None


class VideoGenerator:
    """A pipeline with adapters, prepared to generate videos for a set of prompts."""

    def __init__(self, config: GenerateConfig, place: Place, prompts: Sequence[Prompt], num_videos: int) -> None:
        """Load everything and check that every adapter fits, before hours of generating.

        Args:
            config: the spec.
            place: see `Place`.
            prompts: all prompts to generate for.
            num_videos: over all ranks and variants; determines whether compiling pays off.

        """
        self.config, self.place = config, place
        self.sampling = Sampling(config.num_steps, config.guidance_scale, config.conditional_frame_timestep)
        contexts, negative = self._encode_prompts(prompts)
        _free()
        self.vae = pipeline.load_vae(*self._where)
        self.prepared = Prepared(contexts, negative, {prompt.name: self._first_latents(prompt) for prompt in prompts})
        self.scheduler = pipeline.load_scheduler(place.folder)
        self.transformer = pipeline.load_transformer(*self._where)
        for adapter in config.adapters:
            adapter_folder.require_fit(self.transformer, adapter_files.read(Path(adapter.path)), place.folder)
        self.denoiser = Denoiser(self.transformer, Execution("none", compile=self._compiles(num_videos)))

    @property
    def _where(self) -> tuple[Path, torch.dtype, torch.device, str | None]:
        return self.place.folder, self.place.dtype, self.place.ranks.device, self.place.variant

    def _encode_prompts(self, prompts: Sequence[Prompt]) -> tuple[dict[str, Tensor], Tensor | None]:
        texts = list(dict.fromkeys(prompt.prompt for prompt in prompts))
        negative = [negative_prompt(self.config)] if self.sampling.is_guided else []
        projector = pipeline.load_context_projection(*self._where)
        encoder, tokenizer = pipeline.load_text_encoder(*self._where)
        encoded = text.encode_contexts(projector, encoder, tokenizer, [*texts, *negative]).cpu()
        contexts = dict(zip(texts, torch.split(encoded[: len(texts)], 1), strict=True))
        return contexts, encoded[len(texts) :] if negative else None

    def _first_latents(self, prompt: Prompt) -> Tensor | None:
        size = (self.config.height, self.config.width)
        pixels = conditions.load(prompt, size, self.config.num_conditional_latent_frames)
        return None if pixels is None else pipeline.encode_latents(self.vae, pixels[None])[0].cpu()

    def _compiles(self, num_videos: int) -> bool:
        share = num_videos / (
            len(generation_plan.variants(self.config)) * self.place.ranks.world * self.config.batch_size
        )
        passes = share * self.sampling.num_steps * (2 if self.sampling.is_guided else 1)
        return self.place.ranks.device.type == "cuda" and passes >= COMPILE_FROM_PASSES

    def use(self, variant: Variant) -> None:
        """Switch the transformer to a variant; the base must come before any adapter, fused adapters last."""
        if not variant.adapters:
            return
        for adapter in self.config.adapters:
            if adapter.name not in getattr(self.transformer, "peft_config", {}):
                adapter_folder.load(self.transformer, Path(adapter.path), adapter.name, self.place.folder)
        weights = {adapter.name: adapter.weight for adapter in self.config.adapters}
        self.transformer.set_adapters(list(variant.adapters), [weights[name] for name in variant.adapters])
        if variant.fused:
            fusing.fuse(self.transformer, variant.adapters)

    def make(self, batch: Sequence[Video]) -> list[Frames]:
        """Return the videos of a batch with the variant in use."""
        config, prepared, device = self.config, self.prepared, self.place.ranks.device
        shape = ClipShape(config.num_frames, config.height, config.width)
        start = sampler.noise(shape.latents, [video.seed for video in batch]).to(device)
        contexts = Contexts(
            torch.cat([prepared.contexts[video.prompt.prompt] for video in batch]).to(device),
            None if prepared.negative is None else prepared.negative.to(device),
        )
        first = [prepared.first_latents[video.prompt.name] for video in batch]
        latents = sampler.sample(self.denoiser, self.scheduler, start, first, contexts, self.sampling)
        return [video_file.to_frames(pipeline.decode_latents(self.vae, row[None])[0]) for row in latents]


def negative_prompt(config: GenerateConfig) -> str:
    """Return the negative prompt: that of the spec, else that of diffusers' pipeline."""
    if config.negative_prompt is not None:
        return config.negative_prompt
    return pipeline_negative_prompt()


def pipeline_negative_prompt() -> str:
    """Return the default negative prompt of diffusers' pipeline."""
    from diffusers.pipelines.cosmos import pipeline_cosmos2_5_predict

    own: str = pipeline_cosmos2_5_predict.DEFAULT_NEGATIVE_PROMPT
    return own


def _free() -> None:
    """Free the text encoder's memory before the next model is loaded."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
