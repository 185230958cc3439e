import json

import plain_diffusers
import pytest
import torch
from peft import LoraConfig

from tao_skill_bank.models.cosmos_predict import adapter_folder, export, pipeline, sampler
from tao_skill_bank.models.cosmos_predict.config import ExportConfig
from tao_skill_bank.models.cosmos_predict.config.shared import Model
from tao_skill_bank.training import distributed, entrypoint
from tao_skill_bank.weights import safetensors_files

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]


@pytest.fixture(params=[False, True], ids=["lora", "dora"])
def adapter(request, tiny_pipeline, tmp_path):
    transformer = pipeline.load_transformer(tiny_pipeline, torch.float32, torch.device("cpu"))
    transformer.add_adapter(LoraConfig(r=4, lora_alpha=9, use_dora=request.param, target_modules=TARGETS))
    torch.manual_seed(0)
    for name, parameter in transformer.named_parameters():
        if "lora_" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    adapter_folder.write(tmp_path / "adapter", transformer, tiny_pipeline)
    return tmp_path / "adapter"


@pytest.fixture
def run(tmp_path):
    def start(spec):
        try:
            return entrypoint.run(spec, export.export, tmp_path / "run")
        finally:
            distributed.stop()

    return start


def sample(script):
    start = sampler.noise((16, 3, 4, 6), [5])
    sizes = {"height": 32, "width": 48, "num_frames": 9, "num_inference_steps": 2}
    return script(prompt="left", negative_prompt="ugly", latents=start, output_type="latent", **sizes).frames


@pytest.mark.slow
def test_the_merged_pipeline_gives_the_videos_of_base_and_adapter(run, adapter, tiny_pipeline, tmp_path, monkeypatch):
    assert run(ExportConfig(str(adapter), model=Model(str(tiny_pipeline)), weight=0.7, dtype="float32")) == 0
    beside = plain_diffusers.load(tiny_pipeline, monkeypatch)
    base = sample(beside)
    beside.load_lora_weights(str(adapter), adapter_name="robot")
    beside.set_adapters(["robot"], [0.7])
    expected = sample(beside)
    merged = sample(plain_diffusers.load(tmp_path / "run" / "safetensors" / "merged", monkeypatch))
    torch.testing.assert_close(merged, expected, atol=2e-4, rtol=2e-4)
    assert (merged - base).abs().max() > 0.05


def test_the_other_parts_are_the_bases_and_the_base_stays_as_it_is(run, adapter, tiny_pipeline, tmp_path):
    before = {path: path.read_bytes() for path in tiny_pipeline.rglob("*") if path.is_file()}
    assert run(ExportConfig(str(adapter), model=Model(str(tiny_pipeline)))) == 0
    merged = tmp_path / "run" / "safetensors" / "merged"
    for path, content in before.items():
        assert path.read_bytes() == content
        if path.parent.name != "transformer":
            assert (merged / path.relative_to(tiny_pipeline)).read_bytes() == content
    header = safetensors_files.read_header(merged / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"BF16"}


@pytest.mark.slow
def test_exporting_again_replaces_what_is_there(run, adapter, tiny_pipeline, tmp_path):
    for weight in (1.0, 0.5):
        assert run(ExportConfig(str(adapter), model=Model(str(tiny_pipeline)), weight=weight)) == 0
    assert sorted(path.name for path in (tmp_path / "run" / "safetensors").iterdir()) == ["merged"]


def test_an_adapter_of_another_base_is_refused(run, adapter, tiny_pipeline, tmp_path):
    record = adapter / "base_model.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "fingerprint": "0" * 64}))
    assert run(ExportConfig(str(adapter), model=Model(str(tiny_pipeline)))) == 3
    assert not (tmp_path / "run" / "safetensors").exists()
