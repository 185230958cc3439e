"""The embedded pipeline: the 2B's classes and structure, in diffusers' own layout."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.models.cosmos_predict import builtin, pipeline, pretraining, text
from tao_skill_bank.models.cosmos_predict.pretraining import Recipe, Stage
from tao_skill_bank.samples import robot

CPU = torch.device("cpu")
STRUCTURE_OF_THE_2B = {
    "in_channels": 17,
    "out_channels": 16,
    "concat_padding_mask": True,
    "use_crossattn_projection": True,
    "extra_pos_embed_type": None,
    "mlp_ratio": 4.0,
    "patch_size": [1, 2, 2],
    "rope_scale": [1.0, 3.0, 3.0],
    "max_size": [128, 240, 240],
}


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_diffusers_loads_the_whole_pipeline(tiny_pipeline: Path) -> None:
    from diffusers import Cosmos2_5_PredictBasePipeline

    pipe = Cosmos2_5_PredictBasePipeline.from_pretrained(str(tiny_pipeline), safety_checker=lambda *_: None)
    assert (pipe.vae_scale_factor_spatial, pipe.vae_scale_factor_temporal) == (8, 4)
    assert type(pipe.text_encoder).__name__ == "Qwen2_5_VLForConditionalGeneration"
    sizes = {name: sum(p.numel() for p in getattr(pipe, name).parameters()) for name in ("transformer", "vae")}
    assert max(sizes.values()) < 1_000_000
    assert sum(path.stat().st_size for path in tiny_pipeline.rglob("*") if path.is_file()) < 10e6


def test_every_part_loads_alone_and_is_whole(tiny_pipeline: Path) -> None:
    pipeline.load_transformer(tiny_pipeline, torch.float32, CPU)
    pipeline.load_vae(tiny_pipeline, torch.float32, CPU)
    encoder, tokenizer = pipeline.load_text_encoder(tiny_pipeline, torch.float32, CPU)
    features = text.encode_prompt(encoder, tokenizer, 'A "box", please')
    assert features.shape == (
        512,
        pipeline.load_context_projection(tiny_pipeline, torch.float32, CPU).crossattn_proj[0].in_features,
    )
    assert features.isfinite().all()


def test_the_structure_is_that_of_the_2b(tiny_pipeline: Path) -> None:
    config = json.loads((tiny_pipeline / "transformer" / "config.json").read_text())
    assert {name: config[name] for name in STRUCTURE_OF_THE_2B} == STRUCTURE_OF_THE_2B
    scheduler = pipeline.load_scheduler(tiny_pipeline)
    scheduler.set_timesteps(36)
    assert scheduler.config.prediction_type == "flow_prediction"
    assert scheduler.sigmas[0] == pytest.approx(200 / 201, abs=1e-4)
    assert scheduler.sigmas[-2] == pytest.approx(0.01 / 1.01, abs=1e-4)


def test_latents_are_normalised_by_what_the_vae_measured(tiny_pipeline: Path) -> None:
    vae = pipeline.load_vae(tiny_pipeline, torch.float32, CPU)
    latents = pipeline.encode_latents(vae, pretraining.pixels(list(robot.slides(4, seed=3)))[:, :, :17])
    assert latents.shape == (4, 16, 5, 6, 10)
    assert latents.mean().abs() < 0.2
    assert 0.7 < latents.std() < 1.3


@pytest.mark.slow
def test_the_same_bytes_are_made_every_time_with_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(2, 1, 0.02, 4e-3)
    monkeypatch.setattr(builtin, "RECIPE", Recipe(2, stage, stage, stage))
    state = torch.random.get_rng_state()
    builtin.create("tiny-cosmos-predict", tmp_path / "a")
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(1)
    torch.set_num_threads(2)
    builtin.create("tiny-cosmos-predict", tmp_path / "b")
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b")


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        builtin.create("huge", tmp_path)
    assert "tiny-cosmos-predict" in caught.value.problems[0].fix
