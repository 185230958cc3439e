"""Denoising: from noise, text contexts and clean first frames to latents, by the pipeline's UniPC scheduler.

The arithmetic matches diffusers' Cosmos2_5_PredictBasePipeline, so that an adapter gives the same video there; the
noise comes from NumPy, so that a seed gives the same video on every GPU and machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Predict = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # transformer.Denoiser


@dataclass(frozen=True)
class Sampling:
    """How latents are denoised.

    Attributes:
        num_steps: evaluations of the transformer, twice that with guidance.
        guidance_scale: g in v + g (v - v_negative); 1 or less disables guidance.
        conditional_frame_timestep: noise level passed for clean frames; negative passes the clip's noise level.

    """

    num_steps: int = 36
    guidance_scale: float = 7.0
    conditional_frame_timestep: float = 0.0001

    @property
    def is_guided(self) -> bool:
        return self.guidance_scale > 1


@dataclass(frozen=True)
class Contexts:
    """Projected text contexts (B, L, F) of the prompts and the negative prompt."""

    prompt: Tensor
    negative: Tensor | None = None


def noise(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """Return float32 noise (seeds, *shape): a row depends only on its seed and the shape.

    A row is `numpy.random.default_rng(seed).standard_normal(shape, dtype=numpy.float32)`: passed to diffusers' pipeline
    as `latents`, it gives the same video there.
    """
    rows = [np.random.default_rng(seed).standard_normal(tuple(shape), dtype=np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


def pad_conditions(conditions: Sequence[Tensor | None], like: Tensor) -> tuple[Tensor, Tensor]:
    """Put clean first frames into a batch.

    Args:
        conditions: per row, latents (C, frames, h, w) of the first latent frames, or None.
        like: the batch's noise (B, C, T, h, w).

    Returns:
        The clean latents (B, C, T, h, w), zero where none are given, and the mask (B, 1, T, h, w) of the
        given ones.

    """
    clean = torch.zeros_like(like, dtype=torch.float32)
    mask = torch.zeros_like(like[:, :1], dtype=torch.float32)
    for row, condition in enumerate(conditions):
        if condition is not None:
            frames = condition.shape[1]
            clean[row, :, :frames] = condition.to(clean)
            mask[row, :, :frames] = 1
    return clean, mask


@torch.no_grad()
def sample(
    predict: Predict,
    scheduler: Any,
    start: Tensor,
    conditions: Sequence[Tensor | None],
    contexts: Contexts,
    sampling: Sampling,
) -> Tensor:
    """Return denoised latents (B, C, T, h, w) in float32.

    Conditioned frames are clean in every input of the transformer, and move along their own straight path.


    Args:
        predict: the transformer, see `transformer.Denoiser`.
        scheduler: UniPCMultistepScheduler of the pipeline.
        start: noise (B, C, T, h, w) on the transformer's device.
        conditions: see `pad_conditions`.
        contexts: of every row; a negative context of one row is broadcast.
        sampling: steps and guidance.

    """
    clean, mask = pad_conditions(conditions, start)
    latents = start.float()
    known_velocity = (latents - clean) * mask
    is_conditioned = mask[:, 0, :, 0, 0]
    scheduler.set_timesteps(sampling.num_steps, device=start.device)
    for index, timestep in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[index].to(start.device, torch.float32)
        sigmas = sigma.expand_as(is_conditioned)
        if sampling.conditional_frame_timestep >= 0:
            sigmas = torch.where(is_conditioned > 0, sampling.conditional_frame_timestep, sigmas)
        given = torch.where(mask > 0, clean, latents)

        def velocity(context: Tensor, given: Tensor = given, sigmas: Tensor = sigmas) -> Tensor:
            predicted = predict(given, mask, sigmas, context.expand(len(start), -1, -1))
            return torch.where(mask > 0, known_velocity, predicted.float())

        step = velocity(contexts.prompt)
        if sampling.is_guided and contexts.negative is not None:
            step = step + sampling.guidance_scale * (step - velocity(contexts.negative))
        latents = scheduler.step(step, timestep, latents, return_dict=False)[0]
    return latents
