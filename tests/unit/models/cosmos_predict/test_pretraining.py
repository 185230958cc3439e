"""The embedded pipeline learns from its first steps on; what the whole minute gives is shown by the demo."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tao_skill_bank.models.cosmos_predict import builtin, flow, pretraining, quality
from tao_skill_bank.models.cosmos_predict.config.train import Flow
from tao_skill_bank.models.cosmos_predict.pretraining import Recipe, Stage
from tao_skill_bank.models.cosmos_predict.transformer import Denoiser, Execution, project_context
from tao_skill_bank.samples import robot

FOLDER = builtin.FOLDER / "tiny-cosmos-predict"
NOTHING = Stage(0, 1, 0.0, 0.0)


@pytest.fixture(scope="module")
def videos() -> torch.Tensor:
    return pretraining.pixels(list(robot.slides(12, seed=1)))


def _bytes(videos: torch.Tensor) -> np.ndarray:
    frames: np.ndarray = ((videos.clamp(-1, 1) + 1) * 127.5).byte().permute(0, 2, 3, 4, 1).numpy()
    return frames


@pytest.mark.slow
def test_the_vae_soon_shows_the_object_where_it_is(videos: torch.Tensor) -> None:
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    vae = AutoencoderKLWan.from_config(AutoencoderKLWan.load_config(str(FOLDER / "vae")))
    recipe = replace(Recipe(), images=Stage(40, 8, 0.02, 8e-3), windows=NOTHING)
    latents = pretraining.train_vae(vae, videos, recipe)
    assert latents.shape == (12, 16, 5, 6, 10)
    assert latents.std((0, 2, 3, 4)) == pytest.approx(torch.ones(16), abs=1e-3)

    shown = pretraining.pixels(list(robot.clips(6, seed=0)))[:, :, :1]
    with torch.no_grad():
        decoded = vae.decode(vae.encode(shown).latent_dist.mode()).sample
    error = quality.centroid_error(zip(_bytes(decoded), _bytes(shown), strict=True))
    assert error.found == 1
    assert error.pixels < 3


@pytest.mark.slow
def test_the_transformer_soon_predicts_more_than_nothing() -> None:
    from diffusers import CosmosTransformer3DModel

    torch.manual_seed(0)
    dit = CosmosTransformer3DModel.from_config(CosmosTransformer3DModel.load_config(str(FOLDER / "transformer")))
    latents = torch.randn(4, 16, 1, 6, 10).expand(-1, -1, 3, -1, -1).contiguous()  # the given frame tells all others
    features = torch.randn(4, 512, dit.config.crossattn_proj_in_channels)
    draw = flow.draw_batch(latents, Flow(), seed=1)

    @torch.no_grad()
    def loss() -> float:
        denoiser = Denoiser(dit, Execution(checkpointing="none"))
        return flow.losses(denoiser, latents, project_context(dit, features), draw, 1e-4).predicted.mean().item()

    before = loss()
    pretraining.train_transformer(dit, latents, features, replace(Recipe(), transformer=Stage(60, 2, 0.03, 5e-3)))
    assert loss() < 0.6 * before
