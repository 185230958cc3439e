import json
import shutil

import plain_diffusers
import pytest
import torch
from peft import LoraConfig

from tao_skill_bank.errors import BlockedError, UnknownNameError
from tao_skill_bank.models.cosmos_predict import adapter_folder, pipeline
from tao_skill_bank.weights import adapter_files

CPU = torch.device("cpu")
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]


def transformer_of(folder):
    return pipeline.load_transformer(folder, torch.float32, CPU)


def adapted(folder, seed=0, **settings):
    """Return a transformer with an adapter that does something; alpha is not the rank."""
    transformer = transformer_of(folder)
    defaults = {"r": 4, "lora_alpha": 9, "lora_dropout": 0.3, "target_modules": TARGETS}
    transformer.add_adapter(LoraConfig(**(defaults | settings)))
    torch.manual_seed(seed)
    for name, parameter in transformer.named_parameters():
        if "lora_" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return transformer.eval()


def adapter_weights(transformer):
    return {key: value for key, value in transformer.state_dict().items() if "lora_" in key}


@pytest.fixture(params=[False, True], ids=["lora", "dora"])
def trained(request, tiny_pipeline, tmp_path):
    """A transformer with its adapter, and the folder that was written of it."""
    transformer = adapted(tiny_pipeline, use_dora=request.param)
    adapter_folder.write(tmp_path / "adapter", transformer, tiny_pipeline)
    return transformer, tmp_path / "adapter"


@pytest.mark.slow
def test_an_adapter_comes_back_to_the_bit_with_its_scale(trained, tiny_pipeline):
    transformer, folder = trained
    loaded = transformer_of(tiny_pipeline)
    adapter_folder.load(loaded, folder, "default", tiny_pipeline)
    before, after = adapter_weights(transformer), adapter_weights(loaded)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert loaded.transformer_blocks[0].attn1.to_q.scaling == {"default": 9 / 4}


@pytest.mark.slow
def test_plain_diffusers_loads_the_same_adapter(trained, tiny_pipeline, monkeypatch):
    transformer, folder = trained
    plain = plain_diffusers.load(tiny_pipeline, monkeypatch)
    plain.load_lora_weights(str(folder), adapter_name="default")
    before, after = adapter_weights(transformer), adapter_weights(plain.transformer)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert plain.transformer.transformer_blocks[0].attn1.to_q.scaling == {"default": 9 / 4}


def test_a_loaded_adapter_drops_nothing(trained, tiny_pipeline):
    """New layers come in training mode, where dropout would make videos differ from call to call."""
    loaded = transformer_of(tiny_pipeline)
    adapter_folder.load(loaded, trained[1], "default", tiny_pipeline)
    assert not any(module.training for module in loaded.modules())


def test_the_folder_is_readable_without_torch(trained):
    adapter = adapter_files.read(trained[1])
    assert (adapter.rank, adapter.alpha, adapter.targets) == (4, 9, tuple(sorted(TARGETS)))
    assert adapter.has_magnitudes == trained[0].peft_config["default"].use_dora


def test_nothing_else_is_left_behind(trained):
    names = sorted(path.name for path in trained[1].iterdir())
    assert names == ["adapter_config.json", "base_model.json", "pytorch_lora_weights.safetensors"]


def test_other_files_of_the_folder_stay(trained, tiny_pipeline):
    transformer, folder = trained
    (folder / "optimizer.pt").write_text("state")
    adapter_folder.write(folder, transformer, tiny_pipeline)
    assert (folder / "optimizer.pt").read_text() == "state"


def test_what_peft_wrote_is_loaded_with_its_alpha(tiny_pipeline, tmp_path):
    from peft import get_peft_model

    transformer = get_peft_model(transformer_of(tiny_pipeline), LoraConfig(r=4, lora_alpha=9, target_modules=TARGETS))
    transformer.save_pretrained(str(tmp_path / "peft"))
    loaded = transformer_of(tiny_pipeline)
    adapter_folder.load(loaded, tmp_path / "peft", "robot", tiny_pipeline)
    assert loaded.transformer_blocks[0].attn1.to_q.scaling == {"robot": 9 / 4}


def test_a_file_without_settings_has_alpha_equal_to_the_rank_as_in_diffusers(trained, tiny_pipeline, tmp_path):
    from safetensors.torch import load_file, save_file

    file = tmp_path / "bare.safetensors"
    save_file(load_file(trained[1] / adapter_files.DIFFUSERS_WEIGHTS), file)
    loaded = transformer_of(tiny_pipeline)
    adapter_folder.load(loaded, file, "bare", tiny_pipeline)
    assert loaded.transformer_blocks[0].attn1.to_q.scaling == {"bare": 1}


def test_two_adapters_of_different_ranks_live_side_by_side(tiny_pipeline, tmp_path):
    loaded = transformer_of(tiny_pipeline)
    for name, rank in (("small", 2), ("large", 8)):
        adapter_folder.write(tmp_path / name, adapted(tiny_pipeline, r=rank), tiny_pipeline)
        adapter_folder.load(loaded, tmp_path / name, name, tiny_pipeline)
    assert loaded.transformer_blocks[0].attn1.to_q.r == {"small": 2, "large": 8}


def test_an_adapter_of_other_weights_is_refused(trained, tiny_pipeline):
    record = trained[1] / "base_model.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "path": "/other", "fingerprint": "0" * 64}))
    with pytest.raises(BlockedError, match="trained on /other, whose weights differ"):
        adapter_folder.load(transformer_of(tiny_pipeline), trained[1], "x", tiny_pipeline)


def test_an_adapter_of_another_size_is_refused_before_anything_is_loaded(tmp_path, tiny_pipeline):
    from diffusers import CosmosTransformer3DModel

    config = dict(transformer_of(tiny_pipeline).config)
    wide = CosmosTransformer3DModel.from_config({**config, "num_attention_heads": config["num_attention_heads"] + 1})
    wide.add_adapter(LoraConfig(r=4, target_modules=TARGETS))
    adapter_folder.write(tmp_path / "wide", wide, None)
    transformer = transformer_of(tiny_pipeline)
    with pytest.raises(BlockedError, match=r"was trained with .* inputs and .* outputs, but the model's has"):
        adapter_folder.load(transformer, tmp_path / "wide", "x")
    assert not adapter_weights(transformer)


def test_an_adapter_of_a_deeper_model_is_refused(tmp_path, tiny_pipeline):
    from diffusers import CosmosTransformer3DModel

    config = dict(transformer_of(tiny_pipeline).config)
    deep = CosmosTransformer3DModel.from_config({**config, "num_layers": config["num_layers"] + 1})
    deep.add_adapter(LoraConfig(r=4, target_modules=["to_q"]))
    adapter_folder.write(tmp_path / "deep", deep, None)
    with pytest.raises(BlockedError, match="which the model does not have"):
        adapter_folder.load(transformer_of(tiny_pipeline), tmp_path / "deep", "x")


def test_a_config_of_another_rank_is_refused(trained, tiny_pipeline):
    config = trained[1] / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "r": 32}))
    with pytest.raises(BlockedError, match=r"have rank 4, adapter_config.json says 32"):
        adapter_folder.load(transformer_of(tiny_pipeline), trained[1], "x", tiny_pipeline)


def test_a_missing_or_empty_folder_is_refused(tmp_path, tiny_pipeline):
    with pytest.raises(UnknownNameError, match="does not exist"):
        adapter_folder.load(transformer_of(tiny_pipeline), tmp_path / "absent", "x")
    with pytest.raises(BlockedError, match="is not an adapter"):
        adapter_folder.load(transformer_of(tiny_pipeline), tmp_path, "x")


def test_a_folder_that_was_moved_still_knows_its_base(trained, tiny_pipeline, tmp_path):
    moved = shutil.copytree(tiny_pipeline, tmp_path / "moved")
    dit = transformer_of(moved)
    adapter_folder.load(dit, trained[1], "x", moved)
    assert dit.active_adapters() == ["x"]
