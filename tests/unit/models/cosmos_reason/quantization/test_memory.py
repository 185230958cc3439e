"""What quantizing needs, beside what a real model holds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from preflight_worlds import QuietPlatform, make_job

from tao_skill_bank import preflight
from tao_skill_bank.models.cosmos_reason.config import QuantizeConfig
from tao_skill_bank.models.cosmos_reason.quantization import memory
from tao_skill_bank.models.cosmos_reason.quantization.memory import inspect_quantize
from tao_skill_bank.models.cosmos_reason.workload import describe
from tao_skill_bank.training.config import load_spec

from ..conftest import Document

GIB = 2**30
NAME = "hf_model://nvidia/Cosmos-Reason2-8B"
PARAMETERS = 8_767_123_696
Inspected = Callable[..., Document]


@pytest.fixture
def inspected(quantize_spec: Document, write_config: Callable[..., Path]) -> Inspected:
    def run(model: str = "", *, held_out: bool = False, pixels: int = 8_388_608, **options: object) -> Document:
        quantize_spec["quantize"] |= {"max_sequence_length": 16384} | options
        quantize_spec["vision"] = {"nframes": 4, "total_pixels": pixels}
        if model:
            quantize_spec["model"] = {"model_path": model}
        if not held_out:
            quantize_spec.pop("dataset", None)
        return inspect_quantize(load_spec(QuantizeConfig, write_config(quantize_spec)))

    return run


def test_weights_are_counted_in_bfloat16_whatever_the_checkpoint_has(inspected: Inspected, tiny_model: Path) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    real = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model))
    found = inspected()["memory_bytes_per_gpu"]
    assert found["weights"] == sum(2 * parameter.numel() for parameter in real.parameters())
    assert found["total"] == sum(found[part] for part in ("weights", "adapter", "scales", "activations"))


@pytest.mark.parametrize("scheme", ["W4A16", "FP8_DYNAMIC", "NVFP4"])
def test_an_8b_is_quantized_within_24_gib(inspected: Inspected, scheme: str) -> None:
    needed = inspected(NAME, quantization_scheme=scheme)["memory_bytes_per_gpu"]
    assert needed["weights"] == 2 * PARAMETERS
    assert 18 * GIB < needed["total"] < 24 * GIB


def test_longer_clips_need_more_up_to_the_longest_sequence(inspected: Inspected) -> None:
    needed = [
        inspected(NAME, pixels=pixels, max_sequence_length=length)["memory_bytes_per_gpu"]["activations"]
        for pixels, length in ((8_388_608, 16_384), (33_554_432, 16_384), (33_554_432, 4096))
    ]
    assert needed[1] > 2 * needed[0]
    assert needed[2] < needed[1]


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"held_out": True}, "Evaluate the held-out data (--eval)"),
        ({"max_new_tokens": 30_000}, "Set quantize.skip_test_generation=true"),
        ({"skip_test_generation": True, "pixels": 33_554_432}, "Lower vision.total_pixels, or"),
        ({"skip_test_generation": True, "pixels": 65_536}, "Use a smaller model"),
    ],
)
def test_the_cure_is_that_of_the_hungriest_step(inspected: Inspected, options: Document, cure: str) -> None:
    assert inspected(NAME, **options)["cure"].startswith(cure)


def test_held_out_records_are_counted_as_many_as_run_at_once(
    inspected: Inspected, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = []
    for batch in (4, 8):
        monkeypatch.setattr(memory, "BATCH", batch)
        needed.append(inspected(NAME, held_out=True)["memory_bytes_per_gpu"]["activations"])
    assert needed[1] == 2 * needed[0]


def test_an_adapter_is_counted_beside_its_base(
    quantize_spec: Document, write_config: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 1000)
    quantize_spec["model"] = {"model_path": str(tmp_path), "enable_lora": True, "base_model_path": str(tiny_model)}
    found = inspect_quantize(load_spec(QuantizeConfig, write_config(quantize_spec)))
    assert found["memory_bytes_per_gpu"]["adapter"] == 1000


@pytest.mark.slow
def test_preflight_compares_the_memory_of_a_quantization_with_the_machines(
    quantize_spec: Document, tmp_path: Path
) -> None:
    spec = quantize_spec | {"system_prompt": ""}
    spec["model"] |= {"enable_lora": False}
    spec["quantize"] |= {"kv_precision": "bf16", "for_another_machine": True, "max_sequence_length": 4096}
    module = "tao_skill_bank.models.cosmos_reason.quantize"
    job = replace(make_job(tmp_path), action="quantize", module=module, spec=spec, workload=describe("quantize", spec))
    found = {finding.code: finding for finding in preflight.run(job, QuietPlatform())}
    assert "memory_not_estimated" not in found
    assert found["memory"].evidence["needed_bytes"] > 10**6
