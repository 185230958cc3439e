import json

import huggingface_hub.constants  # noqa: F401 - reads HF_HUB_OFFLINE at import, before a test here sets it
import pytest
import torch
from preflight_worlds import codes, make_job
from safetensors.torch import save_file

from tao_skill_bank.preflight.model import checkpoints
from tao_skill_bank.training import adapters
from tao_skill_bank.weights import safetensors_files


def findings_of(tmp_path, model, **workload):
    return checkpoints.check(make_job(tmp_path, model=str(model), **workload))


def write_checkpoint(folder, *, shards=("model.safetensors",)):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for shard in shards:
        save_file({"weight": torch.arange(64.0)}, folder / shard)
    if len(shards) > 1:
        index = {"weight_map": {f"weight{number}": shard for number, shard in enumerate(shards)}}
        (folder / checkpoints.INDEX).write_text(json.dumps(index))
    return folder


def write_adapter(folder, base):
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    save_file({"lora_A": torch.zeros(4)}, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize("shards", [("model.safetensors",), ("a.safetensors", "b.safetensors")])
def test_a_complete_checkpoint_is_no_finding(tmp_path, shards):
    assert findings_of(tmp_path, write_checkpoint(tmp_path / "model", shards=shards)) == []


@pytest.mark.parametrize("uri", ["builtin://tiny-cosmos-reason", "hf_model://org/name"])
def test_a_checkpoint_that_is_fetched_is_not_looked_for(tmp_path, uri):
    assert findings_of(tmp_path, uri) == []


def test_a_checkpoint_that_does_not_exist_is_missing(tmp_path):
    assert codes(findings_of(tmp_path, tmp_path / "absent"), "blocking") == ["checkpoint_missing"]


def test_a_hub_checkpoint_that_is_not_cached_is_missing_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert codes(findings_of(tmp_path, "hf_model://org/name")) == ["checkpoint_missing"]


@pytest.mark.parametrize("absent", ["config.json", "model.safetensors"])
def test_an_incomplete_checkpoint_blocks(tmp_path, absent):
    folder = write_checkpoint(tmp_path / "model")
    (folder / absent).unlink()
    assert codes(findings_of(tmp_path, folder), "blocking") == ["checkpoint_incomplete"]


def test_a_shard_that_the_index_names_must_exist(tmp_path):
    folder = write_checkpoint(tmp_path / "model", shards=("a.safetensors", "b.safetensors"))
    (folder / "b.safetensors").unlink()
    found = findings_of(tmp_path, folder)
    assert found[0].evidence == {"files": ["b.safetensors"]}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": {}}'])
def test_an_index_that_names_nothing_blocks(tmp_path, text):
    folder = write_checkpoint(tmp_path / "model")
    (folder / checkpoints.INDEX).write_text(text)
    assert codes(findings_of(tmp_path, folder), "blocking") == ["checkpoint_broken"]


@pytest.mark.parametrize("num_bytes", [0, 4, 20, -1])
def test_a_truncated_weight_file_blocks(tmp_path, num_bytes):
    folder = write_checkpoint(tmp_path / "model")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:num_bytes])
    assert codes(findings_of(tmp_path, folder), "blocking") == ["checkpoint_broken"]


def test_a_weight_file_of_another_format_blocks(tmp_path):
    folder = write_checkpoint(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"[]" + bytes(100))
    assert codes(findings_of(tmp_path, folder), "blocking") == ["checkpoint_broken"]


def test_an_adapter_in_the_place_of_a_checkpoint_names_the_fix(tmp_path):
    adapter = write_adapter(tmp_path / "adapter", "org/base")
    assert "enable_lora" in findings_of(tmp_path, adapter)[0].fix


@pytest.mark.parametrize("made_for", ["hf_model://org/base", "org/base", "/elsewhere/base", "/cache/org--base"])
def test_an_adapter_of_the_named_base_is_accepted(tmp_path, made_for):
    adapter = write_adapter(tmp_path / "adapter", made_for)
    assert codes(findings_of(tmp_path, adapter, base_model="hf_model://org/base@main")) == ["adapter_base"]


def test_an_adapter_of_a_local_base_is_accepted(tmp_path):
    base = write_checkpoint(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", base)
    assert codes(findings_of(tmp_path, adapter, base_model=str(base))) == ["adapter_base"]


def test_an_adapter_of_another_base_blocks(tmp_path):
    adapter = write_adapter(tmp_path / "adapter", "org/other")
    found = findings_of(tmp_path, adapter, base_model="hf_model://org/base")
    assert codes(found, "blocking") == ["adapter_of_another_base"]
    assert "org/other" in found[0].message


def test_an_adapter_needs_its_weights_and_its_config(tmp_path):
    adapter = write_adapter(tmp_path / "adapter", "org/base")
    (adapter / "adapter_model.safetensors").unlink()
    assert codes(findings_of(tmp_path, adapter, base_model="hf_model://org/base")) == ["adapter_incomplete"]
    (adapter / "adapter_config.json").write_text("broken")
    assert codes(findings_of(tmp_path, adapter, base_model="hf_model://org/base")) == ["adapter_incomplete"]


def test_an_adapter_that_does_not_exist_is_missing(tmp_path):
    found = findings_of(tmp_path, tmp_path / "absent", base_model="hf_model://org/base")
    assert codes(found) == ["checkpoint_missing"]


@pytest.mark.parametrize("made_for", ["/elsewhere/other", "/cache/org--other"])
def test_a_base_that_only_its_folder_names_is_a_warning(tmp_path, made_for):
    adapter = write_adapter(tmp_path / "adapter", made_for)
    found = findings_of(tmp_path, adapter, base_model="hf_model://org/base")
    assert codes(found, "warning") == ["adapter_of_another_base"]
    assert "could not be compared" in found[0].message


def write_identity(adapter, base, weights):
    identity = {"path": str(base), "fingerprint": safetensors_files.fingerprint(weights)}
    (adapter / adapters.BASE_FILE).write_text(json.dumps(identity))


def test_an_adapter_whose_base_has_moved_is_known_by_its_weights(tmp_path):
    base = write_checkpoint(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", "org/other")
    write_identity(adapter, "/elsewhere/other", base)
    found = findings_of(tmp_path, adapter, base_model=str(base))
    assert (codes(found), found[0].evidence["compared"]) == (["adapter_base"], "weights")


def test_a_base_of_the_same_name_with_other_weights_blocks(tmp_path):
    base = write_checkpoint(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", base)
    write_identity(adapter, base, base)
    save_file({"weight": torch.ones(64)}, base / "model.safetensors")
    found = findings_of(tmp_path, adapter, base_model=str(base))
    assert codes(found, "blocking") == ["adapter_of_another_base"]
    assert "weights differ" in found[0].message


def write_pipeline(folder):
    for part in ("transformer", "vae"):
        write_checkpoint(folder / part, shards=("diffusion_pytorch_model.safetensors",))
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    index = {part: ["diffusers", "SomeClass"] for part in ("transformer", "vae", "scheduler")}
    (folder / "model_index.json").write_text(json.dumps(index | {"safety_checker": [None, None]}))
    return folder


def test_a_whole_pipeline_is_no_finding(tmp_path):
    assert findings_of(tmp_path, write_pipeline(tmp_path / "pipeline")) == []


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("scheduler/scheduler_config.json", "lacks scheduler"),
        ("vae/config.json", "lacks vae"),
        ("transformer/diffusion_pytorch_model.safetensors", "holds no"),
    ],
)
def test_a_pipeline_that_lost_a_file_blocks(tmp_path, lost, told):
    folder = write_pipeline(tmp_path / "pipeline")
    (folder / lost).unlink()
    found = findings_of(tmp_path, folder)
    assert codes(found, "blocking") == ["checkpoint_incomplete"]
    assert told in found[0].message


def test_a_cut_off_part_of_a_pipeline_blocks(tmp_path):
    folder = write_pipeline(tmp_path / "pipeline")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    found = findings_of(tmp_path, folder)
    assert codes(found, "blocking") == ["checkpoint_broken"]
    assert list(found[0].evidence["files"]) == ["vae/diffusion_pytorch_model.safetensors"]


@pytest.mark.parametrize("base", [False, True])
def test_a_quantized_checkpoint_blocks_where_its_weights_are_needed_whole(tmp_path, base):
    folder = write_checkpoint(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "compressed-tensors"}}))
    adapter = write_adapter(tmp_path / "adapter", folder)
    named = {"model": adapter, "base_model": str(folder)} if base else {"model": folder}
    (found,) = findings_of(tmp_path, needs_whole_weights=True, **named)[-1:]
    assert (found.code, found.severity, found.path) == ("checkpoint_quantized", "blocking", str(folder))
    assert "checkpoint_quantized" not in codes(findings_of(tmp_path, **named))
