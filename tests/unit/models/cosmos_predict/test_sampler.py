import numpy as np
import plain_diffusers
import pytest
import torch
from PIL import Image

from tao_skill_bank.models.cosmos_predict import pipeline, sampler, text
from tao_skill_bank.models.cosmos_predict.sampler import Contexts, Sampling
from tao_skill_bank.models.cosmos_predict.transformer import Denoiser, Execution

CPU = torch.device("cpu")
HEIGHT, WIDTH, FRAMES, STEPS = 32, 48, 9, 3
SHAPE = (16, 3, 4, 6)
PROMPT, NEGATIVE = "The robot moves left.", "ugly"


class Parts:
    """What sampling needs, from one folder."""

    def __init__(self, folder):
        self.transformer = pipeline.load_transformer(folder, torch.float32, CPU)
        self.vae = pipeline.load_vae(folder, torch.float32, CPU)
        self.scheduler = pipeline.load_scheduler(folder)
        contexts = text.encode_contexts(
            self.transformer, *pipeline.load_text_encoder(folder, torch.float32, CPU), [PROMPT, NEGATIVE]
        )
        self.contexts = Contexts(contexts[:1], contexts[1:])

    def sample(self, start, conditions, sampling=None):
        denoiser = Denoiser(self.transformer, Execution("none"))
        contexts = Contexts(self.contexts.prompt.expand(len(start), -1, -1), self.contexts.negative)
        return sampler.sample(denoiser, self.scheduler, start, conditions, contexts, sampling or Sampling(STEPS))

    def condition(self, images):
        frames = torch.stack([torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) for image in images], dim=1)
        return pipeline.encode_latents(self.vae, frames[None].float() / 255 * 2 - 1)[0]


@pytest.fixture(scope="module")
def parts(tiny_pipeline):
    return Parts(tiny_pipeline)


@pytest.fixture
def plain(tiny_pipeline, monkeypatch):
    """Sample with diffusers' own pipeline."""
    pipe = plain_diffusers.load(tiny_pipeline, monkeypatch)

    def run(start, **options):
        sizes = {"height": HEIGHT, "width": WIDTH, "num_frames": FRAMES, "num_inference_steps": STEPS}
        texts = {"prompt": PROMPT, "negative_prompt": NEGATIVE}
        return pipe(**sizes, **texts, latents=start, output_type="latent", **options).frames

    return run


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)) for _ in range(7)]


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("guidance_scale", [7.0, 1.0])
@pytest.mark.parametrize("timestep", [0.0001, -1.0])
def test_image_to_video_is_that_of_diffusers_pipeline(parts, plain, images, guidance_scale, timestep):
    start = sampler.noise(SHAPE, [7])
    theirs = plain(start, image=images[0], guidance_scale=guidance_scale, conditional_frame_timestep=timestep)
    sampling = Sampling(STEPS, guidance_scale, timestep)
    assert_close(parts.sample(start, [parts.condition(images[:1])], sampling), theirs)


@pytest.mark.parametrize("latent_frames", [1, 2])
def test_video_to_video_is_that_of_diffusers_pipeline(parts, plain, images, latent_frames):
    start = sampler.noise(SHAPE, [7])
    theirs = plain(start, video=images, num_latent_conditional_frames=latent_frames)
    assert_close(parts.sample(start, [parts.condition(images[-(4 * latent_frames - 3) :])]), theirs)


def test_text_to_video_is_that_of_diffusers_pipeline(parts, plain):
    start = sampler.noise(SHAPE, [7])
    assert_close(parts.sample(start, [None]), plain(start))


def test_a_batch_of_different_conditions_is_its_rows(parts, images):
    start = sampler.noise(SHAPE, [1, 2, 3])
    conditions = [parts.condition(images[:1]), None, parts.condition(images[-5:])]
    together = parts.sample(start, conditions)
    alone = [parts.sample(start[row : row + 1], conditions[row : row + 1]) for row in range(3)]
    assert_close(together, torch.cat(alone))


def test_conditioned_frames_end_where_they_were_given(parts, images):
    """But for the noise level that the schedule does not begin or end at: a few percent of the noise."""
    condition = parts.condition(images[-5:])
    sampled = parts.sample(sampler.noise(SHAPE, [1]), [condition])
    assert (sampled[0, :, :2] - condition).abs().mean() < 0.03


def test_noise_is_numpys_and_depends_on_seed_and_shape_alone():
    both = sampler.noise(SHAPE, [5, 6])
    assert torch.equal(both[1:], sampler.noise(SHAPE, [6]))
    assert not torch.equal(both[0], both[1])
    expected = np.random.default_rng(5).standard_normal(SHAPE, dtype=np.float32)
    assert np.array_equal(both[0].numpy(), expected)
    assert both[0].flatten()[:3].tolist() == pytest.approx([-1.2224977, -2.1383154, -0.06472305], abs=1e-6)
