import json

import pytest
import torch
from safetensors.torch import save_file

from tao_skill_bank.weights import model_folders, model_uri


@pytest.fixture
def pipeline(tmp_path):
    """A pipeline of two models, a scheduler and a checker that lies elsewhere."""
    folder = tmp_path / "pipeline"
    parts = {"transformer": "config.json", "vae": "config.json", "scheduler": "scheduler_config.json"}
    for part, config in parts.items():
        (folder / part).mkdir(parents=True)
        (folder / part / config).write_text("{}")
        if config == "config.json":
            save_file({"weight": torch.zeros(8)}, folder / part / "diffusion_pytorch_model.safetensors")
    index = {part: ["diffusers", "SomeClass"] for part in parts}
    index |= {"_class_name": "P", "safety_checker": ["guard", "Checker"], "image_encoder": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_a_checkpoint_and_a_pipeline_are_model_folders_and_others_are_not(tmp_path, pipeline):
    (tmp_path / "config.json").write_text("{}")
    assert model_folders.is_model_folder(tmp_path)
    assert model_folders.is_model_folder(pipeline)
    assert not model_folders.is_model_folder(pipeline / "scheduler")


def test_a_whole_pipeline_is_complete(pipeline):
    assert model_folders.is_complete(pipeline)
    assert [part.name for part in model_folders.checkpoints_of(pipeline)] == ["transformer", "vae"]


@pytest.mark.parametrize(
    "lost", ["vae/config.json", "scheduler/scheduler_config.json", "transformer/diffusion_pytorch_model.safetensors"]
)
def test_a_pipeline_that_lost_a_file_is_not_complete(pipeline, lost):
    (pipeline / lost).unlink()
    assert not model_folders.is_complete(pipeline)


def test_every_shard_of_every_variant_is_needed(pipeline):
    part = pipeline / "transformer"
    index = {"weight_map": {"a": "one.fp16.safetensors", "b": "two.fp16.safetensors"}}
    (part / "diffusion_pytorch_model.safetensors.index.fp16.json").write_text(json.dumps(index))
    save_file({"a": torch.zeros(1)}, part / "one.fp16.safetensors")
    assert not model_folders.is_complete(pipeline)
    save_file({"b": torch.zeros(1)}, part / "two.fp16.safetensors")
    assert model_folders.is_complete(pipeline)


def test_an_index_that_names_nothing_is_broken(pipeline):
    (pipeline / "vae" / "diffusion_pytorch_model.safetensors.index.json").write_text("{}")
    assert model_folders.weight_names(pipeline / "vae") is None
    assert not model_folders.is_complete(pipeline)


def test_an_embedded_pipeline_is_found_by_its_index(pipeline, monkeypatch, tmp_path):
    builtin = tmp_path / "models" / "some_model" / "builtin"
    builtin.mkdir(parents=True)
    pipeline.rename(builtin / "tiny-pipeline")
    monkeypatch.setattr(model_uri, "MODELS", tmp_path / "models")
    assert model_uri.builtin_names() == ["tiny-pipeline"]
