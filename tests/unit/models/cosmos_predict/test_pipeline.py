import json
import shutil

import pytest
import torch

from tao_skill_bank.errors import BlockedError, UnknownNameError
from tao_skill_bank.models.cosmos_predict import pipeline

CPU = torch.device("cpu")


@pytest.fixture
def copy(tiny_pipeline, tmp_path):
    """A pipeline that a test may break."""
    return shutil.copytree(tiny_pipeline, tmp_path / "pipeline")


def load_all(folder, variant=None):
    pipeline.load_transformer(folder, torch.float32, CPU, variant)
    pipeline.load_vae(folder, torch.float32, CPU, variant)
    pipeline.load_text_encoder(folder, torch.float32, CPU, variant)
    pipeline.load_scheduler(folder)


def test_every_part_is_loaded_frozen_in_the_type_asked_for(tiny_pipeline):
    transformer = pipeline.load_transformer(tiny_pipeline, torch.bfloat16, CPU)
    vae = pipeline.load_vae(tiny_pipeline, torch.bfloat16, CPU)
    encoder, tokenizer = pipeline.load_text_encoder(tiny_pipeline, torch.bfloat16, CPU)
    for model in (transformer, vae, encoder):
        assert model.dtype == torch.bfloat16
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert tokenizer("robot")["input_ids"]
    assert pipeline.load_scheduler(tiny_pipeline).config.use_flow_sigmas


def test_the_context_projection_is_that_of_the_transformer(tiny_pipeline):
    whole = pipeline.load_transformer(tiny_pipeline, torch.float32, CPU).crossattn_proj
    alone = pipeline.load_context_projection(tiny_pipeline, torch.float32, CPU).crossattn_proj
    features = torch.randn(2, 3, whole[0].in_features)
    assert torch.equal(alone(features), whole(features))


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(copy, part):
    shutil.rmtree(copy / part)
    with pytest.raises(UnknownNameError, match=f"has no {part}"):
        load_all(copy)


def test_a_part_of_another_class_is_named(copy):
    index = json.loads((copy / "model_index.json").read_text())
    index["transformer"] = ["diffusers", "WanTransformer3DModel"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(
        BlockedError, match=r"is a WanTransformer3DModel; Cosmos-Predict 2.5 has a CosmosTransformer3DM"
    ):
        load_all(copy)


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match=r"has no readable model_index.json"):
        load_all(tmp_path)


@pytest.mark.parametrize(
    ("part", "file"),
    [("transformer", "diffusion_pytorch_model.safetensors"), ("text_encoder", "model.safetensors")],
)
def test_missing_and_cut_off_weights_are_refused(copy, part, file):
    weights = copy / part / file
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BlockedError, match=f"The {part} of .* cannot be loaded"):
        load_all(copy)
    weights.unlink()
    with pytest.raises(BlockedError, match="lacks"):
        load_all(copy)


def test_a_tensor_that_would_stay_random_is_refused(copy):
    from safetensors.torch import load_file, save_file

    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    lost = next(name for name in tensors if "attn1.to_q" in name)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, weights)
    with pytest.raises(BlockedError, match=f"lacks {lost}: it would run on random weights"):
        load_all(copy)


def test_a_variant_is_loaded_by_its_name_and_missed_by_it(copy):
    for part, stem in (
        ("transformer", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        (copy / part / f"{stem}.safetensors").rename(copy / part / f"{stem}.fp16.safetensors")
    load_all(copy, "fp16")
    with pytest.raises(BlockedError, match="has no weights of variant 'fp8'"):
        load_all(copy, "fp8")


def test_latents_are_the_normalised_mean_and_decode_back_through_the_same_numbers(tiny_pipeline):
    vae = pipeline.load_vae(tiny_pipeline, torch.float32, CPU)
    pixels = torch.rand(2, 3, 9, 32, 48) * 2 - 1
    latents = pipeline.encode_latents(vae, pixels)
    with torch.no_grad():
        mean = vae.encode(pixels).latent_dist.mode()
        plain = vae.decode(mean, return_dict=False)[0].clamp(-1, 1)
    shape = (1, 16, 1, 1, 1)
    expected = (mean - torch.tensor(vae.config.latents_mean).view(shape)) / torch.tensor(vae.config.latents_std).view(
        shape
    )
    assert latents.shape == (2, 16, 3, 4, 6)
    torch.testing.assert_close(latents, expected)
    torch.testing.assert_close(pipeline.decode_latents(vae, latents), plain, atol=1e-4, rtol=1e-4)


def test_the_first_latents_depend_on_the_first_frames_alone(tiny_pipeline):
    """So that a condition needs five frames encoded, not ninety-three."""
    vae = pipeline.load_vae(tiny_pipeline, torch.float32, CPU)
    pixels = torch.rand(1, 3, 9, 32, 48) * 2 - 1
    whole = pipeline.encode_latents(vae, pixels)
    torch.testing.assert_close(pipeline.encode_latents(vae, pixels[:, :, :5]), whole[:, :, :2])
