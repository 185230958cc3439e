"""The trainer's loss and gradients against the formula in float64, by diffusers' own modules and peft's adapters."""

import math

import peft
import plain_diffusers
import predict_training
import pytest
import torch
from predict_training import curve

from tao_skill_bank.models.cosmos_predict import clips, flow, train
from tao_skill_bank.training import gradients


@pytest.fixture
def last_step(monkeypatch):
    """The micro-batches of the last step, and the adapters' weights and gradients before they were clipped."""
    seen = {"seeds": [], "taken": []}
    real_losses, real_clip = train._losses, gradients.clip

    def losses(trainer, items, loaded, seed):
        seen["dit"] = trainer.dit
        seen["seeds"].append(seed)
        seen["taken"].append((items, seed))
        return real_losses(trainer, items, loaded, seed)

    def clip(parameters, limit):
        seen["last"], seen["taken"] = seen["taken"], []
        trained = {name: weight for name, weight in seen["dit"].named_parameters() if weight.requires_grad}
        seen["weights"] = {name: weight.detach().clone() for name, weight in trained.items()}
        seen["gradients"] = {name: weight.grad.clone() for name, weight in trained.items()}
        return real_clip(parameters, limit)

    monkeypatch.setattr(train, "_losses", losses)
    monkeypatch.setattr(gradients, "clip", clip)
    return seen


def drawn(spec, taken):
    """Return every clip of the micro-batches with the draw of its batch and its row in it."""
    rows = []
    for items, seed in taken:
        draw = flow.draw_batch(torch.zeros(len(items), 16, 3, 6, 10), spec.flow, seed)
        rows += [(item, draw, row) for row, item in enumerate(items)]
    dropped = [bool(draw.dropped[row]) for _, draw, row in rows]
    assert any(dropped)
    assert not all(dropped)
    return rows


def recompute(plain, spec, seen):
    """Return the losses of the step seen, trained and public, by diffusers' modules and peft in float64."""
    vae, dit = plain.vae.double(), plain.transformer.double()
    shift = torch.tensor(vae.config.latents_mean, dtype=torch.float64).view(-1, 1, 1, 1)
    scale = torch.tensor(vae.config.latents_std, dtype=torch.float64).view(-1, 1, 1, 1)
    losses, public = [], []
    for item, draw, row in drawn(spec, seen["last"]):
        start = clips.window_start(item.num_frames, 9, spec.train.seed, 0, item.index)
        pixels = clips.load_window(item.video, start, 9, (48, 80)).double()
        with torch.no_grad():
            clean = (vae.encode(pixels[None]).latent_dist.mode()[0] - shift) / scale
        noise, sigma, given = draw.noise[row].double(), draw.sigma[row].double(), int(draw.conditioned[row])
        noisy = sigma * noise + (1 - sigma) * clean
        noisy[:, :given] = clean[:, :given]
        mask = torch.zeros(1, 1, 3, 6, 10, dtype=torch.float64)
        mask[:, :, :given] = 1
        told = torch.full((1, 1, 3, 1, 1), float(sigma), dtype=torch.float64)
        told[:, :, :given] = 1e-4
        features = plain.encode_prompt(item.caption, do_classifier_free_guidance=False)[0].double()
        velocity = dit(
            noisy[None],
            told,
            features * (0 if draw.dropped[row] else 1),
            condition_mask=mask,
            padding_mask=torch.zeros(1, 1, 48, 80, dtype=torch.float64),
            return_dict=False,
        )[0][0]
        squared = (velocity - (noise - clean))[:, given:].square()
        losses.append(squared.mean())
        public.append(squared.sum() / noise.numel())
    return torch.stack(losses).mean(), torch.stack(public).mean()


@pytest.mark.slow
@pytest.mark.parametrize("use_dora", [False, True], ids=["lora", "dora"])
def test_loss_and_gradients_equal_those_of_diffusers_and_peft_in_float64(
    use_dora, last_step, tiny_pipeline, robot_data, tmp_path, monkeypatch
):
    groups = {
        "lora": {"use_dora": use_dora},
        "dataset": {"windows_per_clip": 1},
        "flow": {"cfg_dropout_prob": 0.5},
        "train": {"epoch": 2, "gradient_accumulation_steps": 3},  # the second step: B is no longer zero
        "validation": {"enable": False},
    }
    spec, folder = predict_training.config(tiny_pipeline, robot_data, **groups), tmp_path / "run"
    assert predict_training.run(spec, folder) == 0

    assert len(set(last_step["seeds"])) == len(last_step["seeds"]) == 6
    plain = plain_diffusers.load(tiny_pipeline, monkeypatch)
    plain.transformer.requires_grad_(False)
    targets = list(spec.lora.target_modules)
    plain.transformer.add_adapter(peft.LoraConfig(r=4, lora_alpha=6, use_dora=use_dora, target_modules=targets))
    trained = {name: weight for name, weight in plain.transformer.named_parameters() if "lora_" in name}
    assert trained.keys() == last_step["weights"].keys()
    plain.transformer.double()
    for name, weight in trained.items():
        weight.data = last_step["weights"][name].double()
    loss, public = recompute(plain, spec, last_step)
    loss.backward()

    steps = curve(folder)
    assert steps[max(steps)] == pytest.approx(loss.item(), rel=2e-5)
    assert curve(folder, "train/loss_public")[max(steps)] == pytest.approx(public.item(), rel=2e-5)
    assert len(trained) == 30 * (3 if use_dora else 2)
    for name, weight in trained.items():
        got, expected = last_step["gradients"][name].double(), weight.grad
        assert torch.linalg.norm(expected) > 0, name
        assert torch.linalg.norm(got - expected) < 1e-3 * torch.linalg.norm(expected), name
    norm = math.sqrt(sum(float(weight.grad.square().sum()) for weight in trained.values()))
    assert curve(folder, "optimizer/grad_norm")[max(steps)] == pytest.approx(norm, rel=1e-4)
