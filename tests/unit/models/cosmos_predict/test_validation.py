"""The held-out loss: the same number every time, at levels and noises that never change; and videos for the eye."""

import av
import predict_training
import pytest
import torch

from tao_skill_bank.models.cosmos_predict import dataset, flow, generator, pipeline, sampler, train, validation
from tao_skill_bank.models.cosmos_predict.batches import Windows
from tao_skill_bank.models.cosmos_predict.transformer import Denoiser, Execution


@pytest.fixture
def run(tmp_path):
    with predict_training.one_rank(tmp_path / "run") as run:
        yield run


@pytest.fixture
def denoiser(tiny_pipeline):
    return Denoiser(pipeline.load_transformer(tiny_pipeline, torch.float32, torch.device("cpu")), Execution("none"))


@pytest.fixture
def held_out(tiny_pipeline, robot_data, run):
    def make(**groups):
        spec = predict_training.config(tiny_pipeline, robot_data, **groups)
        items = dataset.find_items(spec)[1]
        windows = Windows(spec.dataset.num_frames, spec.train.seed, kept=1)
        return validation.HeldOut(spec, items, train._material(spec, run, windows, ([], items)))

    return make


@pytest.mark.slow
def test_the_loss_is_the_mean_of_the_formula_over_clips_and_levels(held_out, denoiser, run):
    judged = held_out(validation={"num_samples": 3})
    levels = flow.shifted(flow.even_times(3, "logitnormal").double(), 5.0)
    errors = []
    with torch.no_grad():
        for item in judged.items:
            clean = judged.latents.load(item, judged.windows.starts(item)[0])[None].float()
            for number, level in enumerate(levels):
                given = (1, 2)[(item.index + number) % 2]
                noise = sampler.noise(clean.shape[1:], [item.index * validation.NUMBERS_PER_CLIP + number])
                mask = torch.zeros_like(clean[:, :1])
                mask[:, :, :given] = 1
                sigmas = torch.full((1, clean.shape[2]), level)
                sigmas[:, :given] = 1e-4
                noisy = torch.where(mask > 0, clean, (level * noise + (1 - level) * clean).float())
                predicted = denoiser(noisy, mask, sigmas.float(), judged.contexts.kept[item.caption][None])
                errors.append((predicted - (noise - clean))[:, :, given:].double().square().mean().item())
    assert judged.loss(denoiser, run) == pytest.approx(sum(errors) / 9, rel=1e-5)


@pytest.mark.slow
def test_the_loss_repeats_whatever_is_drawn_in_between(held_out, denoiser, run):
    judged = held_out()
    first = judged.loss(denoiser, run)
    state = torch.get_rng_state()
    assert judged.loss(denoiser, run) == first
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert judged.loss(denoiser, run) == first
    assert held_out(dataset={"cache_latents": False, "cache_text": False}).loss(denoiser, run) == pytest.approx(first)


@pytest.mark.slow
@pytest.mark.parametrize("cache_latents", [True, False])
def test_sample_videos_are_readable_and_of_the_specs_size(cache_latents, held_out, denoiser, run, tmp_path):
    judged = held_out(
        validation={"sample_videos": 2, "sample_steps": 2}, dataset={"cache_latents": cache_latents, "fps": 12}
    )
    judged.sample_videos(denoiser, tmp_path / "samples", generator.pipeline_negative_prompt(), run)
    made = sorted((tmp_path / "samples").iterdir())
    assert [path.name for path in made] == ["val-00000.mp4", "val-00001.mp4"]
    for path in made:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert container.streams.video[0].average_rate == 12
        assert (len(frames), frames[0].shape) == (9, (48, 80, 3))
