"""Adapters that are put on a model are whole, and were made for it."""

import json

import torch
from preflight_worlds import codes, findings_on
from safetensors.torch import save_file

from tao_skill_bank.contracts import Input, Workload
from tao_skill_bank.weights import safetensors_files


def findings_of(model, *adapters):
    inputs = [Input("adapter", "adapter", {"path": str(path)}) for path in adapters]
    return findings_on(*inputs, workload=Workload(model=str(model)))


def write_part(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    save_file({"weight": torch.arange(64.0)}, folder / "diffusion_pytorch_model.safetensors")
    return folder


def write_pipeline(folder):
    for part in ("transformer", "vae"):
        write_part(folder / part)
    return folder


def write_lora(folder, *, rank=4, recorded=None, base=None):
    folder.mkdir()
    module = "transformer.blocks.0.to_q"
    weights = {f"{module}.lora_A.weight": torch.zeros(rank, 6), f"{module}.lora_B.weight": torch.zeros(8, rank)}
    save_file(weights, folder / "pytorch_lora_weights.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": recorded or rank}))
    if base:
        fingerprint = safetensors_files.fingerprint(base / "transformer")
        record = {"path": str(base), "part": "transformer", "fingerprint": fingerprint}
        (folder / "base_model.json").write_text(json.dumps(record))
    return folder


def test_an_adapter_of_the_pipeline_is_accepted_and_of_another_blocks(tmp_path):
    base, other = write_pipeline(tmp_path / "base"), write_pipeline(tmp_path / "other")
    save_file({"weight": torch.ones(64)}, other / "transformer" / "diffusion_pytorch_model.safetensors")
    adapter = write_lora(tmp_path / "lora", base=base)
    assert codes(findings_of(base, adapter)) == ["adapter_base"]
    found = findings_of(other, adapter)
    assert codes(found, "blocking") == ["adapter_of_another_base"]
    assert "weights differ" in found[0].message


def test_an_adapter_of_another_rank_than_recorded_blocks(tmp_path):
    base = write_pipeline(tmp_path / "base")
    adapter = write_lora(tmp_path / "lora", rank=4, recorded=16)
    assert codes(findings_of(base, adapter), "blocking") == ["adapter_rank"]


def test_every_adapter_is_looked_for(tmp_path):
    base = write_pipeline(tmp_path / "base")
    found = findings_of(base, tmp_path / "one", tmp_path / "two")
    assert codes(found, "blocking") == ["adapter_missing", "adapter_missing"]


def test_an_adapter_is_compared_with_the_base_that_its_options_name(tmp_path):
    base = write_pipeline(tmp_path / "base")
    adapter = Input("adapter", "adapter", {"path": str(write_lora(tmp_path / "lora", base=base))}, {"base": str(base)})
    assert codes(findings_on(adapter, workload=Workload(model="/elsewhere"))) == ["adapter_base"]
