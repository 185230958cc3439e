"""Trains the embedded tiny pipeline's VAE and transformer on generated clips; used by builtin.py alone.

The clips are `robot.slides`: the scene of the robot sample data with other motions, so that an adapter trained on the
samples has something to learn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tao_skill_bank.models.cosmos_predict import text
from tao_skill_bank.models.cosmos_predict.transformer import Denoiser, Execution, project_context
from tao_skill_bank.samples import robot

SEED = 0
CLIPS_SEED = 10_000  # the samples' own seeds are small
NUM_FRAMES = 17
SHIFT = 5.0  # of the noise level, as in fine-tuning
CONDITIONED_SIGMA = 1e-4
DROPPED_CAPTIONS = 0.2
KL_WEIGHT = 1e-6
START_LOG_VARIANCE = -6.0
GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Recipe:
    """How long the two models are trained; the default takes about a minute on two cores."""

    clips: int = 96
    vae_steps: int = 150
    vae_batch: int = 4
    vae_frames: int = 5
    vae_rate: float = 4e-3
    transformer_steps: int = 300
    transformer_batch: int = 8
    transformer_rate: float = 3e-3


def pixels(clips: Sequence[robot.Clip]) -> Tensor:
    """Return the clips' frames as the VAE takes them: (clips, 3, frames, height, width) in [-1, 1]."""
    frames = torch.stack([torch.from_numpy(clip.frames) for clip in clips])
    return frames.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def train_vae(vae: Any, videos: Tensor, recipe: Recipe) -> None:
    """Train the VAE to reconstruct short windows of the videos (N, 3, T, H, W), then measure its latents."""
    _initialise(vae)
    for step, optimizer in _steps(vae, recipe.vae_steps, recipe.vae_rate):
        window = _windows(videos, recipe, step)
        posterior = vae.encode(window).latent_dist
        reconstructed = vae.decode(posterior.mean + torch.randn_like(posterior.mean) * posterior.std).sample
        loss = (reconstructed - window).square().mean() + KL_WEIGHT * posterior.kl().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), GRADIENT_NORM)
        optimizer.step()
    latents = encode(vae, videos[:, :, :NUM_FRAMES])
    mean, std = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())


@torch.no_grad()
def encode(vae: Any, videos: Tensor) -> Tensor:
    """Return the posterior means (N, 16, T, h, w), not normalised."""
    return torch.cat([vae.encode(video[None]).latent_dist.mode() for video in videos])


def train_transformer(dit: Any, latents: Tensor, features: Tensor, recipe: Recipe) -> None:
    """Train the transformer by rectified flow with one or two clean latent frames.

    Args:
        dit: CosmosTransformer3DModel.
        latents: normalised latents (N, 16, T, h, w).
        features: text features of each clip's caption (N, 512, F).
        recipe: how long.

    """
    denoiser = Denoiser(dit, Execution(checkpointing="none"))
    for _, optimizer in _steps(dit, recipe.transformer_steps, recipe.transformer_rate):
        chosen = torch.randint(len(latents), (recipe.transformer_batch,))
        clean, noise = latents[chosen], torch.randn(len(chosen), *latents.shape[1:])
        is_given = torch.arange(clean.shape[2]) < torch.randint(1, 3, (len(chosen), 1))  # (B, T)
        mask = is_given[:, None, :, None, None].expand_as(clean[:, :1]).float()
        time = torch.randn(len(chosen)).sigmoid()
        sigma = SHIFT * time / (1 + (SHIFT - 1) * time)
        level = sigma.reshape(-1, 1, 1, 1, 1)
        noisy = torch.where(mask > 0, clean, level * noise + (1 - level) * clean)
        sigmas = torch.where(is_given, CONDITIONED_SIGMA, sigma[:, None])
        kept = (torch.rand(len(chosen)) >= DROPPED_CAPTIONS).float()
        context = project_context(dit, features[chosen] * kept[:, None, None])
        error = (denoiser(noisy, mask, sigmas, context) - (noise - clean)) * (1 - mask)
        loss = error.square().sum() / ((1 - mask).sum() * clean.shape[1])
        loss.backward()
        nn.utils.clip_grad_norm_(dit.parameters(), GRADIENT_NORM)
        optimizer.step()


def caption_features(text_encoder: Any, tokenizer: Any, clips: Sequence[robot.Clip]) -> Tensor:
    """Return the text features (N, 512, F) of the clips' captions; each caption is encoded once."""
    captions = list(dict.fromkeys(clip.caption for clip in clips))
    features = dict(zip(captions, text.encode_prompts(text_encoder, tokenizer, captions), strict=True))
    return torch.stack([features[clip.caption] for clip in clips])


def _steps(model: nn.Module, count: int, rate: float) -> Iterator[tuple[int, torch.optim.Optimizer]]:
    """Yield an AdamW with zero gradients `count` times; its rate warms up, then falls to zero."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, betas=(0.9, 0.95))
    for step in range(count):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 10) * (1 - step / count)
        optimizer.zero_grad()
        yield step, optimizer
    model.eval()


def _windows(videos: Tensor, recipe: Recipe, step: int) -> Tensor:
    """Return a batch of short windows: clips in turn, starts at random."""
    rows = [(step * recipe.vae_batch + row) % len(videos) for row in range(recipe.vae_batch)]
    starts = torch.randint(videos.shape[2] - recipe.vae_frames + 1, (recipe.vae_batch,)).tolist()
    return torch.stack([videos[row, :, at : at + recipe.vae_frames] for row, at in zip(rows, starts, strict=True)])


def _initialise(vae: Any) -> None:
    """Let signals through at the start: convolutions keep the variance and look at the newest frame most."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanResample, WanResidualBlock

    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                _keep_variance(module)
        for module in vae.modules():
            if isinstance(module, WanResidualBlock):
                module.conv2.weight.mul_(0.3)
            elif isinstance(module, WanResample) and hasattr(module, "time_conv"):
                _repeat_frames(module.time_conv)
        vae.quant_conv.bias[vae.config.z_dim :] = START_LOG_VARIANCE
        vae.quant_conv.weight[vae.config.z_dim :] *= 0.1


def _keep_variance(conv: nn.Conv2d | nn.Conv3d) -> None:
    weight = conv.weight
    fan_in = weight[0].numel()
    if weight.dim() == 5 and weight.shape[2] == 3:
        fan_in //= 3
    weight.normal_(0, fan_in**-0.5)
    if weight.dim() == 5 and weight.shape[2] == 3:
        weight[:, :, :2] *= 0.1
    if conv.bias is not None:
        conv.bias.zero_()


def _repeat_frames(conv: Any) -> None:
    """Let a temporal convolution copy its newest frame: to both output frames where it doubles them."""
    weight = conv.weight
    outputs, inputs = weight.shape[:2]
    weight.mul_(0.1)
    weight[:, :, 2, 0, 0] += torch.eye(inputs).repeat(outputs // inputs, 1)
