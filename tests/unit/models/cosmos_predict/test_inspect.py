"""What a spec would build, told without weights and without a network."""

import json

import pytest
import tomli_w
import torch
from pydantic import TypeAdapter

from tao_skill_bank.core import nested
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.models.cosmos_predict import adapters, pipeline, workload
from tao_skill_bank.models.cosmos_predict.config import TrainConfig
from tao_skill_bank.models.cosmos_predict.config.shared import MODEL, Model
from tao_skill_bank.models.cosmos_predict.config.train import Dataset, Lora, Train
from tao_skill_bank.models.cosmos_predict.inspect import find_architecture, inspect
from tao_skill_bank.training import inspection


def spec(model=MODEL, lora=None, **settings):
    return TrainConfig(Dataset("clips"), Model(model), lora or Lora(), Train(**settings))


@pytest.mark.slow
def test_the_2b_has_about_50_million_trainable_weights_at_rank_32():
    found = inspect(spec())
    assert 2.0e9 < found["parameters"] < 2.2e9
    expected = 28 * 32 * (8 * 2 * 2048 - 2 * 1024 + 2 * (2048 + 4 * 2048))  # text keys and values read 1024 features
    assert found["trainable_parameters"] == expected
    assert 45e6 < expected < 55e6
    assert found["lora"]["targets"] == dict.fromkeys(("to_q", "to_k", "to_v", "to_out.0"), 56) | {
        "ff.net.0.proj": 28,
        "ff.net.2": 28,
    }
    assert found["lora"]["unmatched"] == []
    needed = found["memory_bytes_per_gpu"]
    assert needed["total"] == sum(size for part, size in needed.items() if part != "total")
    assert needed["total"] == min(way["memory_bytes"] for way in found["ways"])
    assert found["ways"][0]["settings"] == {"train.gradient_checkpointing": "pointwise"}
    json.dumps(found)


@pytest.mark.slow
def test_what_the_workload_calls_unsized_changes_nothing_of_the_answer():
    changes = {
        "dataset.on_bad_sample": "skip",
        "dataset.max_bad_share": 0.1,
        "train.resume": True,
        "train.stop_epoch": 1,
        "train.max_steps": 9,
        "train.seed": 7,
        "train.optm_lr": 1e-3,
        "train.optm_weight_decay": 0.1,
        "train.optm_betas": [0.8, 0.9],
        "train.epsilon": 1e-6,
        "train.optm_grad_norm_clip": 0.5,
        "train.epoch": 7,
        "train.warmup_steps": 3,
        "train.schedule_steps": 30,
        "train.f_min": 0.1,
        "train.f_max": 0.9,
        "train.ema_decay": 0.9,
        "lora.lora_alpha": 64,
        "lora.lora_dropout": 0.1,
    }
    assert set(changes) == set(workload.UNSIZED)
    document = {"dataset": {"train_dir": "clips"}, "model": {"pretrained_model_name_or_path": MODEL}}
    found = []
    for values in ({}, changes):
        for path, value in values.items():
            document = nested.with_value(document, path, value)
        found.append(inspect(TypeAdapter(TrainConfig).validate_json(json.dumps(document))))
    assert found[0] == found[1]


@pytest.mark.slow
def test_dora_adds_one_magnitude_per_output():
    plain, dora = inspect(spec()), inspect(spec(lora=Lora(use_dora=True)))
    magnitudes = 28 * (8 * 2048 + 4 * 2048 + 2048)
    assert dora["trainable_parameters"] - plain["trainable_parameters"] == magnitudes


@pytest.mark.slow
def test_the_14b_works_by_its_config():
    found = inspect(spec("hf_model://nvidia/Cosmos-Predict2.5-14B@diffusers/base/post-trained"))
    assert 14e9 < found["parameters"] < 15e9
    assert found["lora"]["unmatched"] == []
    assert found["ways"][-1]["memory_bytes"] > 27 * 2**30  # bf16 weights alone


def test_the_tiny_pipeline_is_counted_as_it_trains(tiny_pipeline):
    dit = adapters.add(pipeline.load_transformer(tiny_pipeline, torch.float32, torch.device("cpu")), Lora(r=4))
    trained = [weight for weight in dit.parameters() if weight.requires_grad]
    assert {weight.dtype for weight in trained} == {torch.float32}
    for model in ("builtin://tiny-cosmos-predict", str(tiny_pipeline)):
        found = inspect(spec(model, Lora(r=4)))
        assert found["trainable_parameters"] == sum(weight.numel() for weight in trained)
        assert found["parameters"] == sum(weight.numel() for weight in dit.parameters())


def test_names_that_match_nothing_are_told():
    found = inspect(spec("builtin://tiny-cosmos-predict", Lora(target_modules=["to_q", "q_proj", "net.2"])))
    assert found["lora"]["unmatched"] == ["q_proj"]
    assert found["lora"]["targets"]["net.2"] == 3  # a name may be the end of a longer one
    none = inspect(spec("builtin://tiny-cosmos-predict", Lora(target_modules=["q_proj"])))
    assert (none["lora"]["unmatched"], none["trainable_parameters"]) == (["q_proj"], 0)


@pytest.mark.slow
def test_a_mode_that_the_spec_chose_is_the_only_way():
    found = inspect(spec(gradient_checkpointing="full"))
    assert [way["name"] for way in found["ways"]] == ["gradient_checkpointing full"]


def test_a_fetched_pipeline_is_found_where_it_was_put(tiny_pipeline, state_dir):
    folder = state_dir / "models" / "hub" / "acme--tiny@main" / "transformer"
    folder.mkdir(parents=True)
    text = (tiny_pipeline / "transformer" / "config.json").read_text()
    (folder / "config.json").write_text(text)
    assert find_architecture("hf_model://acme/tiny@main") == json.loads(text)


def test_an_architecture_that_is_not_at_hand_exits_with_3(tmp_path, monkeypatch, capsys):
    with pytest.raises(UnknownNameError, match="acme/unknown"):
        find_architecture("hf_model://acme/unknown")
    config = tmp_path / "train.toml"
    model = {"pretrained_model_name_or_path": "hf_model://acme/unknown"}
    config.write_text(tomli_w.dumps({"dataset": {"train_dir": "clips"}, "model": model}))
    monkeypatch.setattr("sys.argv", ["inspect", "--config", str(config)])
    monkeypatch.setattr(inspection, "UNUSED", ())  # the tests of this process use them
    with pytest.raises(SystemExit) as ended:
        inspection.main(TrainConfig, inspect)
    assert ended.value.code == 3
    assert "acme/unknown" in json.loads(capsys.readouterr().out)["error"]
