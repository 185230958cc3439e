"""What answering needs, beside what transformers really allocates."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tao_skill_bank.contracts import Input, Workload
from tao_skill_bank.models.cosmos_reason import generation_memory
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig, InferenceConfig
from tao_skill_bank.preflight.model import inspection
from tao_skill_bank.training.config import load_spec

from .conftest import Document

GIB = 2**30


@pytest.fixture
def evaluated(evaluate_spec: Document, write_config: Callable[..., Path]) -> Callable[..., Document]:
    def run(model: str = "", **evaluation: object) -> Document:
        evaluate_spec["evaluation"] |= evaluation
        if model:
            evaluate_spec["model"] = {"model_name": model}
        return generation_memory.inspect_evaluate(load_spec(EvaluateConfig, write_config(evaluate_spec)))

    return run


def test_the_cache_is_as_large_as_that_of_transformers(tiny_model: Path) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    network = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model)).eval()
    ids = torch.ones(3, 17, dtype=torch.long)
    with torch.no_grad():
        cache = network(input_ids=ids, use_cache=True).past_key_values
    held = sum(tensor.nbytes for layer in cache.layers for tensor in (layer.keys, layer.values))
    assert generation_memory.cache_bytes(network.config.text_config, 3 * 17, 4) == held


def test_the_weights_are_those_of_the_checkpoint_and_a_larger_batch_needs_more(
    evaluated: Callable[..., Document], tiny_model: Path
) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    network = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model))
    small, large = evaluated(batch_size=1), evaluated(batch_size=8)
    assert small["memory_bytes_per_gpu"]["weights"] == sum(4 * parameter.numel() for parameter in network.parameters())
    for part in ("cache", "activations"):
        assert large["memory_bytes_per_gpu"][part] == pytest.approx(8 * small["memory_bytes_per_gpu"][part], rel=0.01)


def test_an_8b_evaluation_of_ten_clips_fits_a_gpu_of_24_gib_and_one_of_32b_does_not_fit_48(
    evaluated: Callable[..., Document],
) -> None:
    total = evaluated("hf_model://nvidia/Cosmos-Reason2-8B", batch_size=10)["memory_bytes_per_gpu"]["total"]
    assert 18 * GIB < total < 24 * GIB
    assert evaluated("hf_model://Qwen/Qwen3-VL-32B-Instruct")["memory_bytes_per_gpu"]["total"] > 62 * GIB


def test_a_server_holds_the_model_itself_and_one_started_here_needs_one_prompt(
    evaluated: Callable[..., Document],
) -> None:
    one = evaluated(batch_size=1)["memory_bytes_per_gpu"]
    assert evaluated(batch_size=8, engine="vllm")["memory_bytes_per_gpu"] == one
    away = evaluated(engine="vllm", vllm={"base_url": "http://localhost:8000/v1"})
    assert away["memory_bytes_per_gpu"] == {}


def test_an_adapter_is_counted_beside_its_base(
    evaluate_spec: Document, write_config: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 1000)
    evaluate_spec["model"] |= {"model_name": str(tmp_path), "enable_lora": True, "base_model_path": str(tiny_model)}
    found = generation_memory.inspect_evaluate(load_spec(EvaluateConfig, write_config(evaluate_spec)))
    assert found["memory_bytes_per_gpu"]["adapter"] == 1000
    assert "batch_size" in found["cure"]
    assert "total_pixels" in found["cure"]


def test_one_answer_is_sized_by_its_own_keys(tiny_model: Path, write_config: Callable[..., Path]) -> None:
    spec = {"media": "a.png", "prompt": "What?", "type": "image", "model_path": str(tiny_model), "fps": 1.0}
    image = generation_memory.inspect_inference(load_spec(InferenceConfig, write_config(spec)))
    video = generation_memory.inspect_inference(load_spec(InferenceConfig, write_config(spec | {"type": "video"})))
    assert image["memory_bytes_per_gpu"]["cache"] > video["memory_bytes_per_gpu"]["cache"]


@pytest.mark.slow
def test_preflight_asks_for_the_memory_of_an_evaluation(
    evaluate_spec: Document, write_config: Callable[..., Path], make_evaluation_job: Callable[[], object]
) -> None:
    found = inspection.inspect(make_evaluation_job())  # type: ignore[arg-type]
    assert found.failure is None
    assert set(found.answer["memory_bytes_per_gpu"]) == {"weights", "adapter", "cache", "activations", "total"}


@pytest.fixture
def make_evaluation_job(evaluate_spec: Document, tmp_path: Path) -> Callable[[], object]:
    from preflight_worlds import make_job

    def make() -> object:
        dataset = evaluate_spec["dataset"]
        paths = {"annotation_path": dataset["annotation_path"], "media_path": dataset["media_dir"]}
        media = Input("eval", "annotations", paths)
        workload = Workload(model=evaluate_spec["model"]["model_name"], sized=True, inputs=(media,))
        module = "tao_skill_bank.models.cosmos_reason.evaluate"
        return replace(make_job(tmp_path), action="evaluate", module=module, spec=evaluate_spec, workload=workload)

    return make


@pytest.mark.slow
def test_an_action_that_nobody_sizes_is_refused_by_the_program(write_config: Callable[..., Path]) -> None:
    command = [sys.executable, "-m", "tao_skill_bank.models.cosmos_reason.inspect", "--action", "export"]
    finished = subprocess.run(
        [*command, "--config", str(write_config({}))], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 2
    assert "'export'" in finished.stderr
