"""What is said of generated videos: where the object is, and how well the VAE keeps a clip."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tao_skill_bank.models.cosmos_predict import pipeline, pretraining, quality
from tao_skill_bank.samples import robot


@pytest.fixture(scope="module")
def clip() -> robot.Clip:
    return next(robot.clips(1, seed=4))


def test_the_object_is_found_where_it_was_drawn(clip: robot.Clip) -> None:
    centres = quality.centroids(clip.frames)
    assert centres[0, 1] == pytest.approx(robot.TABLE_Y, abs=1)
    assert centres[:, 1].min() == pytest.approx(robot.TABLE_Y - robot.LIFT, abs=1)
    assert abs(centres[-1, 0] - centres[0, 0]) == pytest.approx(robot.CARRY, abs=1)


def test_a_shifted_clip_is_off_by_its_shift(clip: robot.Clip) -> None:
    error = quality.centroid_error([(np.roll(clip.frames, (2, 0), axis=(1, 2)), clip.frames)])
    assert error.pixels == pytest.approx(2, abs=0.01)
    assert error.found == 1


def test_a_lost_object_counts_as_not_found_and_not_as_near(clip: robot.Clip) -> None:
    half = clip.frames.copy()
    half[: len(half) // 2] = 100
    error = quality.centroid_error([(half, clip.frames)])
    assert error.pixels == 0
    assert error.found == pytest.approx(13 / 25)
    grey = quality.centroid_error([(np.full_like(clip.frames, 100), clip.frames)])
    assert (grey.pixels, grey.found) == (None, 0)


def test_psnr_is_that_of_the_decoded_latents(clip: robot.Clip) -> None:
    class Darker:
        """Decodes every pixel too dark by 0.02 of the range of 2."""

        def encode(self, video: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: video))

        def decode(self, latents: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(sample=latents - 0.02)

    ratio = quality.reconstruction_psnr(Darker(), pretraining.pixels([clip, clip]))
    assert ratio == pytest.approx(-20 * math.log10(0.01), abs=1e-3)


def test_even_a_hardly_trained_vae_is_measured(tiny_pipeline: Path, clip: robot.Clip) -> None:
    vae = pipeline.load_vae(tiny_pipeline, torch.float32, torch.device("cpu"))
    assert 5 < quality.reconstruction_psnr(vae, pretraining.pixels([clip])[:, :, :9]) < 30
