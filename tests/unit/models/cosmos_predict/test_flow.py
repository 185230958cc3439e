"""Draws that repeat, and the loss against its formula, written out again in float64."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from tao_skill_bank.models.cosmos_predict import flow
from tao_skill_bank.models.cosmos_predict.config.train import Flow

SHAPE = (3, 16, 4, 2, 3)  # clips, channels, latent frames, height, width


def clean_latents():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def test_times_follow_their_distribution():
    for name, expected in (("uniform", (0.5, 1 / math.sqrt(12))), ("logitnormal", (0.5, 0.2082))):
        times = flow.draw_times(20_000, name, torch.Generator().manual_seed(0))
        assert times.mean() == pytest.approx(expected[0], abs=0.01)
        assert times.std() == pytest.approx(expected[1], abs=0.01)  # 0.2082: of the logistic function of a normal
        assert times.min() > 0
        assert times.max() < 1


def test_even_times_are_the_quantiles_of_the_distribution():
    shares = [(number + 0.5) / 4 for number in range(4)]
    assert flow.even_times(4, "uniform").tolist() == pytest.approx(shares)
    expected = [1 / (1 + math.exp(-NormalDist().inv_cdf(share))) for share in shares]
    assert flow.even_times(4, "logitnormal").tolist() == pytest.approx(expected)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_the_shift_moves_times_to_noise_levels(shift):
    times = [0.1, 0.5, 0.9]
    expected = [shift * time / (1 + (shift - 1) * time) for time in times]
    assert flow.shifted(torch.tensor(times), shift).tolist() == pytest.approx(expected)


def test_given_frames_are_drawn_with_their_probabilities():
    drawn = flow.draw_conditioned(10_000, {"0": 0.2, "1": 0.5, "2": 0.3}, torch.Generator().manual_seed(0))
    assert (np.bincount(drawn.numpy()) / 10_000).tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.02)
    assert set(flow.draw_conditioned(500, {"1": 0.0, "2": 1.0}, torch.Generator()).tolist()) == {2}


def test_a_seed_repeats_its_draw_and_another_gives_another():
    clean, settings = torch.zeros(200, 1, 2, 1, 1), Flow()
    first, again, other = (flow.draw_batch(clean, settings, seed) for seed in (7, 7, 8))
    for name in ("noise", "sigma", "conditioned", "dropped"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
    assert 0.1 < first.dropped.float().mean() < 0.3
    assert not flow.draw_batch(clean, Flow(cfg_dropout_prob=0.0), 7).dropped.any()
    assert flow.draw_batch(clean, Flow(cfg_dropout_prob=1.0), 7).dropped.all()


def test_drawn_levels_are_shifted_times():
    draw = flow.draw_batch(torch.zeros(50, 1, 2, 1, 1), Flow(time_distribution="uniform", shift=5.0), 3)
    times = torch.rand(50, generator=torch.Generator().manual_seed(3)).double()
    assert draw.sigma.tolist() == pytest.approx((5 * times / (1 + 4 * times)).tolist())


@pytest.mark.parametrize("timestep", [0.0001, 0.0, -1.0])
@pytest.mark.parametrize("distribution", ["logitnormal", "uniform"])
def test_the_loss_equals_its_formula_in_float64(distribution, timestep):
    clean = clean_latents()
    settings = Flow(time_distribution=distribution, shift=3.0, conditional_frames_probs={"0": 0.4, "1": 0.3, "2": 0.3})
    drawn = flow.draw_batch(clean, settings, 0)
    draw = flow.Draw(drawn.noise.double(), drawn.sigma.double(), torch.tensor([0, 1, 2]), drawn.dropped)
    seen = {}

    def predict(noisy, mask, sigmas, context):
        seen.update(noisy=noisy, mask=mask, sigmas=sigmas, context=context)
        return torch.sin(3 * noisy) + mask + sigmas[:, None, :, None, None]

    context = torch.ones(3, 2, 2)
    found = flow.losses(predict, clean, context, draw, timestep)

    clips, channels, frames, height, width = SHAPE
    x, noise, sigma = clean.numpy(), draw.noise.numpy(), draw.sigma.numpy()
    for clip in range(clips):
        errors = []
        for frame in range(frames):
            given = frame < clip  # the draw gives clip k its first k frames
            level = timestep if given and timestep >= 0 else sigma[clip]
            mixed = sigma[clip] * noise[clip, :, frame] + (1 - sigma[clip]) * x[clip, :, frame]
            shown = x[clip, :, frame] if given else mixed
            np.testing.assert_allclose(seen["noisy"][clip, :, frame], shown, rtol=1e-12)
            assert seen["sigmas"][clip, frame].item() == pytest.approx(level)
            assert (seen["mask"][clip, 0, frame] == float(given)).all()
            if not given:
                error = np.sin(3 * shown) + level - (noise[clip, :, frame] - x[clip, :, frame])
                errors.append((error**2).sum())
        per_frame = channels * height * width
        assert found.predicted[clip].item() == pytest.approx(sum(errors) / (len(errors) * per_frame), rel=1e-12)
        assert found.public[clip].item() == pytest.approx(sum(errors) / (frames * per_frame), rel=1e-12)
    assert seen["context"] is context


def test_the_public_loss_is_no_part_of_the_gradient():
    clean = clean_latents().float()
    draw = flow.draw_batch(clean, Flow(), 0)
    weight = torch.ones((), requires_grad=True)
    found = flow.losses(lambda noisy, *_: weight * noisy, clean, torch.zeros(3, 1, 1), draw, 1e-4)
    assert found.predicted.requires_grad
    assert not found.public.requires_grad
