"""Rectified flow: the transformer's noisy input, its target velocity, and the loss.

With time t in (0, 1), the noise level is sigma = s t / (1 + (s - 1) t) with shift s (Esser et al. 2024, section 5.3.2),
the clip is x = sigma noise + (1 - sigma) clean, and the velocity along that straight path is noise - clean (Liu et al.
2022). The first latent frames may be conditioned: they stay clean and are excluded from the loss.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tao_skill_bank.models.cosmos_predict.config.train import Flow

Number = Literal["0", "1", "2"]
Predict = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # transformer.Denoiser


@dataclass(frozen=True)
class Draw:
    """The random draws for a batch of clips.

    Attributes:
        noise: like the latents (B, C, T, h, w), float32.
        sigma: noise level of every clip (B,), float32.
        conditioned: number of clean latent frames of every clip (B,).
        dropped: clips whose caption is dropped (B,), bool.

    """

    noise: Tensor
    sigma: Tensor
    conditioned: Tensor
    dropped: Tensor


@dataclass(frozen=True)
class Losses:
    """Mean squared error of the velocity, per clip (B,).

    Attributes:
        predicted: over the frames that are not conditioned; the training loss.
        public: over all frames, with zero error for conditioned ones, as reported by NVIDIA's public script.

    """

    predicted: Tensor
    public: Tensor


def draw_times(count: int, distribution: str, generator: torch.Generator) -> Tensor:
    """Return times (count,) in (0, 1): the logistic function of a normal variable, or uniform."""
    if distribution == "uniform":
        return torch.rand(count, generator=generator)
    return torch.randn(count, generator=generator).sigmoid()


def even_times(count: int, distribution: str) -> Tensor:
    """Return the medians of `count` equally likely intervals of the distribution: deterministic times."""
    middles = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    if distribution == "logitnormal":
        middles = (math.sqrt(2) * torch.erfinv(2 * middles - 1)).sigmoid()
    return middles.float()


def shifted(times: Tensor, shift: float) -> Tensor:
    """Return the noise levels of times."""
    return shift * times / (1 + (shift - 1) * times)


def draw_conditioned(count: int, probabilities: Mapping[Number, float], generator: torch.Generator) -> Tensor:
    """Return numbers of clean latent frames (count,), drawn with the probabilities by number."""
    numbers = torch.tensor([int(number) for number in probabilities])
    weights = torch.tensor(list(probabilities.values()), dtype=torch.float64)
    return numbers[torch.multinomial(weights, count, replacement=True, generator=generator)]


def draw_batch(clean: Tensor, settings: Flow, seed: int) -> Draw:
    """Draw noise, levels, conditioned frames and dropped captions for clean latents (B, C, T, h, w) from one seed."""
    count = len(clean)
    generator = torch.Generator().manual_seed(seed)
    times = draw_times(count, settings.time_distribution, generator)
    conditioned = draw_conditioned(count, settings.conditional_frames_probs, generator)
    dropped = torch.rand(count, generator=generator) < settings.cfg_dropout_prob
    on_device = torch.Generator(clean.device).manual_seed(seed)
    noise = torch.randn(clean.shape, generator=on_device, device=clean.device)
    return Draw(noise, shifted(times, settings.shift).to(clean.device), conditioned, dropped)


def condition_mask(conditioned: Tensor, latents: Tensor) -> Tensor:
    """Return the mask (B, 1, T, h, w) in float32, 1 on conditioned frames."""
    is_given = torch.arange(latents.shape[2], device=latents.device) < conditioned.to(latents.device)[:, None]
    return is_given[:, None, :, None, None].expand_as(latents[:, :1]).float()


def frame_sigmas(sigma: Tensor, mask: Tensor, conditional_timestep: float) -> Tensor:
    """Return the noise level passed to the transformer for every latent frame (B, T).

    It is `conditional_timestep` for conditioned frames, or the clip's level as for all others if that is negative.
    """
    levels = sigma[:, None].expand(-1, mask.shape[2])
    if conditional_timestep < 0:
        return levels
    return torch.where(mask[:, 0, :, 0, 0] > 0, conditional_timestep, levels)


def losses(predict: Predict, clean: Tensor, context: Tensor, draw: Draw, conditional_timestep: float) -> Losses:
    """Return the losses of clean latents (B, C, T, h, w) under a draw.

    Args:
        predict: the transformer: (noisy, mask, sigmas, context) -> velocity.
        clean: normalised latents in float32.
        context: projected text features (B, L, F).
        draw: see `Draw`; `dropped` was applied to `context` by the caller.
        conditional_timestep: see `frame_sigmas`.

    """
    mask = condition_mask(draw.conditioned, clean)
    level = draw.sigma.view(-1, 1, 1, 1, 1)
    noisy = torch.where(mask > 0, clean, level * draw.noise + (1 - level) * clean)
    predicted = predict(noisy, mask, frame_sigmas(draw.sigma, mask, conditional_timestep), context)
    error = (predicted.to(clean.dtype) - (draw.noise - clean)).square() * (1 - mask)
    public = error.flatten(1).mean(dim=1)
    share = (1 - mask).flatten(1).mean(dim=1)
    return Losses(predicted=public / share, public=public.detach())
