"""Trains the embedded tiny pipeline's VAE and transformer on generated clips; used only by builtin.py.

The clips are `robot.slides`: the scene of the robot sample data with other motions, so that an adapter trained on the
samples has something to learn. Muon (Jordan 2024, in torch.optim) trains the matrices: after 150 steps on single frames
the VAE was at 26.4 dB, with AdamW at 23.6 dB.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tao_skill_bank.models.cosmos_predict import flow, text
from tao_skill_bank.models.cosmos_predict.config.train import Flow
from tao_skill_bank.models.cosmos_predict.transformer import Denoiser, Execution, project_context
from tao_skill_bank.samples import robot

CLIPS_SEED = 10_000  # does not overlap with the small seeds of the samples
NUM_FRAMES = 17
KL_WEIGHT = 1e-6
MOVING_WEIGHT = 8.0  # loss weight where a frame differs from the mean frame: moving objects are small
START_LOG_VARIANCE = -6.0
GRADIENT_NORM = 1.0
WARMUP_STEPS = 10
MOMENTUM = 0.9
MAX_CHANNELS = 3  # the output layer uses AdamW, like vectors


@dataclass(frozen=True)
class Stage:
    """One training stage: steps, clips per step, and the learning rates of matrices and other parameters."""

    steps: int
    batch: int
    matrix_rate: float
    rate: float


@dataclass(frozen=True)
class Recipe:
    """The training length of the two models; the default takes about 85 seconds of one core.

    Attributes:
        clips: number of generated clips.
        images: the VAE on single frames, which is fast.
        windows: the VAE on windows of nine frames: three latent frames, the third without access to the first frame.
        transformer: the transformer on latents of seventeen frames.

    """

    clips: int = 160
    images: Stage = Stage(100, 8, 0.02, 8e-3)
    windows: Stage = Stage(60, 2, 0.02, 8e-3)
    transformer: Stage = Stage(520, 4, 0.03, 5e-3)


IMAGE_FRAMES, WINDOW_FRAMES = 1, 9


def pixels(clips: Sequence[robot.Clip]) -> Tensor:
    """Return the clips' frames as input of the VAE: (clips, 3, frames, height, width) in [-1, 1]."""
    frames = torch.stack([torch.from_numpy(clip.frames) for clip in clips])
    return frames.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def train_vae(vae: Any, videos: Tensor, recipe: Recipe) -> Tensor:
    """Train the VAE to reconstruct frames, then short windows, of the videos (N, 3, frames, H, W); measure its latents.

    Returns:
        The normalised latents (N, 16, T, h, w) of the videos' first 17 frames.

    """
    _let_signals_through(vae)
    scene = videos.mean((0, 2), keepdim=True)
    for stage, frames in ((recipe.images, IMAGE_FRAMES), (recipe.windows, WINDOW_FRAMES)):

        def loss(stage: Stage = stage, frames: int = frames) -> Tensor:
            window = _windows(videos, stage.batch, frames)
            posterior = vae.encode(window).latent_dist
            reconstructed = vae.decode(posterior.mean + torch.randn_like(posterior.mean) * posterior.std).sample
            weight = 1 + MOVING_WEIGHT * (window - scene).abs()
            error: Tensor = (weight * (reconstructed - window).square()).mean() + KL_WEIGHT * posterior.kl().mean()
            return error

        _train(vae, stage, loss)
    means = _means(vae, videos)
    mean, std = means.mean((0, 2, 3, 4)), means.std((0, 2, 3, 4))
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
    return (means - mean.view(-1, 1, 1, 1)) / std.view(-1, 1, 1, 1)


@torch.no_grad()
def _means(vae: Any, videos: Tensor) -> Tensor:
    return torch.cat([vae.encode(video[None, :, :NUM_FRAMES]).latent_dist.mode() for video in videos])


def caption_features(text_encoder: Any, tokenizer: Any, clips: Sequence[robot.Clip]) -> Tensor:
    """Return the text features (N, 512, F) of the clips' captions; each caption is encoded once."""
    captions = list(dict.fromkeys(clip.caption for clip in clips))
    features = dict(zip(captions, text.encode_prompts(text_encoder, tokenizer, captions), strict=True))
    return torch.stack([features[clip.caption] for clip in clips])


def train_transformer(dit: Any, latents: Tensor, features: Tensor, recipe: Recipe) -> None:
    """Train the whole transformer by the rectified flow of fine-tuning, with its default settings.

    Args:
        dit: CosmosTransformer3DModel.
        latents: normalised latents (N, 16, T, h, w).
        features: text features of each clip's caption (N, 512, F).
        recipe: the training length.

    """
    settings = Flow()
    denoiser = Denoiser(dit, Execution(checkpointing="none"))

    def loss() -> Tensor:
        chosen = torch.randint(len(latents), (recipe.transformer.batch,))
        clean = latents[chosen]
        draw = flow.draw_batch(clean, settings, int(torch.randint(2**31, ())))
        context = project_context(dit, features[chosen].masked_fill(draw.dropped[:, None, None], 0))
        return flow.losses(denoiser, clean, context, draw, settings.conditional_frame_timestep).predicted.mean()

    _train(dit, recipe.transformer, loss)


# --- optimisation -------------------------------------------------------------------------------------------------


def _train(model: nn.Module, stage: Stage, loss: Callable[[], Tensor]) -> None:
    """Run the steps of a stage; the learning rates warm up, then decay to zero."""
    model.train()
    matrices = [parameter for parameter in model.parameters() if parameter.numel() > len(parameter) > MAX_CHANNELS]
    ids = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in ids]
    views = [nn.Parameter(parameter.data.view(len(parameter), -1)) for parameter in matrices]  # the same memory
    muon: Any = torch.optim.Muon(views, lr=stage.matrix_rate, weight_decay=0.0, momentum=MOMENTUM)
    adam: Any = torch.optim.AdamW(others, lr=stage.rate, weight_decay=0.0, betas=(0.9, 0.95))
    for factor in _factors(stage.steps):
        model.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
        for parameter, view in zip(matrices, views, strict=True):
            view.grad = None if parameter.grad is None else parameter.grad.view_as(view)
        for optimizer, rate in ((muon, stage.matrix_rate), (adam, stage.rate)):
            optimizer.param_groups[0]["lr"] = rate * factor
            optimizer.step()
    model.zero_grad()
    model.eval()


def _factors(steps: int) -> Iterator[float]:
    for step in range(steps):
        yield min(1, (step + 1) / WARMUP_STEPS) * (1 - step / steps)


def _windows(videos: Tensor, count: int, frames: int) -> Tensor:
    """Return windows (count, 3, frames, H, W) of random videos and starts."""
    rows = torch.randint(len(videos), (count,)).tolist()
    starts = torch.randint(videos.shape[2] - frames + 1, (count,)).tolist()
    return torch.stack([videos[row, :, at : at + frames] for row, at in zip(rows, starts, strict=True)])


# --- start of the VAE ---------------------------------------------------------------------------------------------


def _let_signals_through(vae: Any) -> None:
    """Initialise: convolutions preserve the variance, blocks start near zero, and time as a repeated frame."""
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
    """Draw weights by their fan-in; a causal convolution weights the newest of its three frames most."""
    weight = conv.weight
    is_causal = weight.dim() == 5 and weight.shape[2] == 3
    fan_in = weight[0].numel() // (3 if is_causal else 1)
    weight.normal_(0, fan_in**-0.5)
    if is_causal:
        weight[:, :, :2] *= 0.1
    if conv.bias is not None:
        conv.bias.zero_()


def _repeat_frames(conv: Any) -> None:
    """Initialise a temporal convolution to copy its newest frame, to both output frames if it upsamples."""
    weight = conv.weight
    outputs, inputs = weight.shape[:2]
    weight.mul_(0.1)
    weight[:, :, 2, 0, 0] += torch.eye(inputs).repeat(outputs // inputs, 1)
