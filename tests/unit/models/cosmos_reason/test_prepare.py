"""What a spec can train: kinds of adapters, frozen parts, weights in 4 bits, products in float8."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill_bank.models.cosmos_reason import data, loader, prepare
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.training import float8
from tao_skill_bank.training.float8 import Float8

from .conftest import Document, diagnosis, losses

Run = Callable[[str, Document], int]
LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "attn.qkv"]}


def _load(folder: Path) -> Any:
    from transformers import Qwen3VLForConditionalGeneration

    return Qwen3VLForConditionalGeneration.from_pretrained(str(folder), dtype=torch.float32)


def _mean_loss(network: Any, clips: Path, processor: Processor) -> float:
    """Return the loss of the validation clips by transformers' own forward pass."""
    shown = data.Presentation(VideoSampling(nframes=4), 2048)
    records = data.Records(
        data.read_annotations(str(clips / "val/annotations.json")), str(clips / "val"), processor, shown
    )
    batch = loader.collate([records[index] for index in range(len(records))], loader.Padding(processor))
    batch = loader.to_device(batch, torch.device("cpu"), processor)
    targets = batch.labels[:, 1:].flatten()
    with torch.no_grad():
        logits = network.eval()(**batch.inputs).logits[:, :-1].flatten(0, 1)
    return float(torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100))


def _best(run_dir: Path) -> tuple[Path, float]:
    document = json.loads((run_dir / "best" / "best_score.json").read_text())
    return run_dir / "best", document["best_score"]


def _names(folder: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(str(folder / "adapter_model.safetensors"), "pt") as file:
        return set(file.keys())


ADAPTERS: dict[str, Document] = {
    "plain": {},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True, "lora_dropout": 0.1},
    "patterns": {
        "r_pattern": {r"layers\.1\.self_attn\.q_proj": 2},
        "alpha_pattern": {r"layers\.1\.self_attn\.q_proj": 16},
    },
    "visual": {"target_modules": ["q_proj", "v_proj"], "modules_to_save": ["visual"]},
    "eva": {"init_lora_weights": "eva"},
    "eva with vision": {"init_lora_weights": "eva", "target_modules": ["q_proj", "down_proj", "attn.qkv"]},
    "olora": {"init_lora_weights": "olora", "target_modules": ["q_proj", "v_proj"]},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(ADAPTERS))
def test_every_kind_of_adapter_trains_and_plain_peft_gives_the_trainers_loss(
    kind: str, train_spec: Document, run_program: Run, tiny_model: Path, clips: Path, processor: Processor
) -> None:
    from peft import PeftModel

    train_spec["policy"]["lora"] = {**LORA, **ADAPTERS[kind]}
    train_spec["train"] |= {"epoch": 1, "optm_lr": 1e-2}
    assert run_program("train", train_spec) == 0
    folder, expected = _best(Path(train_spec["results_dir"]))
    adapted = PeftModel.from_pretrained(_load(tiny_model), str(folder))
    loss, start = _mean_loss(adapted, clips, processor), _mean_loss(_load(tiny_model), clips, processor)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert abs(loss - start) > 1e-3


@pytest.mark.slow
def test_patterns_give_layers_their_own_rank(train_spec: Document, run_program: Run) -> None:
    from safetensors.torch import load_file

    train_spec["policy"]["lora"] = {**LORA, **ADAPTERS["patterns"]}
    train_spec["train"]["epoch"] = 1
    assert run_program("train", train_spec) == 0
    weights = load_file(str(_best(Path(train_spec["results_dir"]))[0] / "adapter_model.safetensors"))
    ranks = {
        name.split("language_model.")[1]: len(weight)
        for name, weight in weights.items()
        if "lora_A" in name and "q_proj" in name and "language_model" in name
    }
    assert ranks == {
        f"layers.{index}.self_attn.q_proj.lora_A.weight": 2 if index == 1 else 4 for index in range(len(ranks))
    }
    assert len(ranks) > 1


@pytest.mark.slow
@pytest.mark.parametrize("parts", [["vision"], ["vision", "projector"], ["llm", "lm_head"]])
def test_frozen_parts_stay_as_they_are_and_the_others_learn(
    parts: list[str], train_spec: Document, run_program: Run, tiny_model: Path
) -> None:
    from tao_skill_bank.models.cosmos_reason.optimizer import part_of

    train_spec["policy"]["frozen_parts"] = parts
    train_spec["train"]["epoch"] = 1
    assert run_program("train", train_spec) == 0
    before = dict(_load(tiny_model).named_parameters())
    after = dict(_load(Path(train_spec["results_dir"]) / "best").named_parameters())
    changed = {part_of(name) for name in before if not torch.equal(before[name], after[name])}
    assert changed == {part_of(name) for name in before} - set(parts)


@pytest.mark.slow
def test_frozen_parts_get_no_adapters(
    train_spec: Document, run_program: Run, tiny_model: Path, clips: Path, processor: Processor
) -> None:
    from peft import PeftModel

    train_spec["policy"] |= {
        "lora": {**LORA, "target_modules": ["all-linear"]},
        "frozen_parts": ["vision", "projector"],
    }
    train_spec["policy"]["lora"]["init_lora_weights"] = "pissa"
    train_spec["train"]["epoch"] = 1
    assert run_program("train", train_spec) == 0
    folder, expected = _best(Path(train_spec["results_dir"]))
    assert not any("visual" in name for name in _names(folder))
    adapted = PeftModel.from_pretrained(_load(tiny_model), str(folder))
    assert _mean_loss(adapted, clips, processor) == pytest.approx(expected, rel=1e-4)


def test_adapters_in_frozen_parts_alone_are_refused(train_spec: Document, run_program: Run) -> None:
    train_spec["policy"] |= {"lora": {**LORA, "target_modules": ["attn.qkv"]}, "frozen_parts": ["vision"]}
    assert run_program("train", train_spec) == 2
    found = diagnosis(Path(train_spec["results_dir"]))
    assert found["code"] == "nothing_to_train"
    assert "Remove policy.frozen_parts" in found["cure"]


def test_a_model_without_a_layer_outside_of_the_frozen_parts_is_refused(train_spec: Document, run_program: Run) -> None:
    train_spec["policy"] |= {
        "lora": {**LORA, "target_modules": ["all-linear"]},
        "frozen_parts": ["llm", "vision", "projector"],
    }
    assert run_program("train", train_spec) == 3
    found = diagnosis(Path(train_spec["results_dir"]))
    assert found["code"] == "lora_targets"
    assert "Remove policy.frozen_parts" in found["cure"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"policy": {"lora": {"load_in_4bit": True, "init_lora_weights": "pissa"}}}, "four_bit_excludes"),
        ({"train": {"fp8": {"enable_fp8": True, "fp8_recipe": "delayed_scaling"}}}, "fp8_recipe"),
    ],
)
def test_the_trainer_itself_refuses_what_excludes_each_other(
    changes: Document, code: str, train_spec: Document, run_program: Run
) -> None:
    for section, values in changes.items():
        train_spec[section] |= values
    assert run_program("train", train_spec) == 2
    assert diagnosis(Path(train_spec["results_dir"]))["code"] == code


@pytest.mark.slow
def test_an_adapter_on_a_base_in_4_bits_trains_and_merges_onto_the_whole_base(
    train_spec: Document, run_program: Run, tiny_model: Path, clips: Path, processor: Processor, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    from peft import PeftModel
    from transformers import Qwen3VLForConditionalGeneration

    train_spec["policy"]["lora"] = {**LORA, "load_in_4bit": True}
    train_spec["train"] |= {"epoch": 2, "optm_lr": 3e-3}
    assert run_program("train", train_spec) == 0
    folder, expected = _best(Path(train_spec["results_dir"]))
    packing = prepare.four_bit.settings(torch.float32, prepare.UNPACKED)
    packed = Qwen3VLForConditionalGeneration.from_pretrained(
        str(tiny_model), dtype=torch.float32, quantization_config=packing
    )
    assert type(packed.lm_head) is torch.nn.Linear
    assert type(packed.model.visual.blocks[0].attn.qkv) is torch.nn.Linear
    assert packed.model.language_model.layers[0].mlp.up_proj.weight.dtype == torch.uint8
    assert expected < _mean_loss(packed, clips, processor) - 1e-3
    adapted = PeftModel.from_pretrained(packed, str(folder))
    assert _mean_loss(adapted, clips, processor) == pytest.approx(expected, rel=1e-4)
    spec = {
        "model_path": str(folder.resolve()),
        "enable_lora": True,
        "base_model_path": str(tiny_model),
        "dtype": "float32",
        "results_dir": str(tmp_path / "merged"),
    }
    assert run_program("export", spec) == 0
    merged = _load(tmp_path / "merged" / "safetensors" / "merged")
    on_whole_base = PeftModel.from_pretrained(_load(tiny_model), str(folder))
    assert _mean_loss(merged, clips, processor) == pytest.approx(_mean_loss(on_whole_base, clips, processor), rel=1e-4)
    assert _mean_loss(merged, clips, processor) == pytest.approx(expected, rel=0.1)  # 4 bits are not exact


@pytest.mark.slow
def test_a_packed_training_resumes(train_spec: Document, run_program: Run) -> None:
    pytest.importorskip("bitsandbytes")
    train_spec["policy"]["lora"] = {**LORA, "load_in_4bit": True, "use_dora": True}
    train_spec["train"] |= {"epoch": 1, "optm_decay_type": "none"}
    assert run_program("train", train_spec) == 0
    train_spec["train"] |= {"epoch": 2, "resume": True}
    assert run_program("train", train_spec) == 0
    assert len(losses(Path(train_spec["results_dir"]))) == 6


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {**LORA, "lora_dropout": 0.1}])
def test_training_in_float8_follows_the_curve_of_bfloat16(
    lora: Document | None, train_spec: Document, run_program: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    if lora:
        train_spec["policy"]["lora"] = lora
    train_spec["train"] |= {"param_dtype": "bfloat16", "optm_lr": 1e-3}
    assert run_program("train", train_spec) == 0
    expected = losses(Path(train_spec["results_dir"]))
    # the edge of the machine: this one has no float8 arithmetic, so the products are rounded and multiplied in float32
    monkeypatch.setattr(float8, "require_gpu", lambda *_: None)
    emulated = [Float8.of(recipe, emulate=True) for recipe in ("rowwise", "tensorwise")]
    for index, how in enumerate(emulated):
        monkeypatch.setattr(Float8, "of", staticmethod(lambda _, how=how: how))
        train_spec["train"]["fp8"] = {"enable_fp8": True, "quant_recipe": ("rowwise", "tensorwise")[index]}
        train_spec["results_dir"] = str(tmp_path / f"float8_{index}")
        assert run_program("train", train_spec) == 0
        found = losses(tmp_path / f"float8_{index}")
        assert found != expected
        assert found == pytest.approx(expected, rel=0.03)


def test_float8_is_refused_on_a_device_without_it(train_spec: Document, run_program: Run) -> None:
    pytest.importorskip("torchao")
    train_spec["train"] |= {"fp8": {"enable_fp8": True}, "param_dtype": "bfloat16"}
    assert run_program("train", train_spec) == 3
    found = diagnosis(Path(train_spec["results_dir"]))
    assert found["code"] == "gpu_lacks_narrow_floats"
    assert "train.fp8.enable_fp8=false" in found["cure"]


@pytest.mark.slow
def test_a_part_with_a_rate_of_its_own_moves_at_it(train_spec: Document, run_program: Run, tiny_model: Path) -> None:
    from tao_skill_bank.models.cosmos_reason.optimizer import part_of

    rates = {"llm": 1e-3, "vision": 1e-4, "projector": 1e-5, "lm_head": 1e-6}
    train_spec["train"] |= {
        "epoch": 1,
        "optm_lr": list(rates.values()),
        "optm_decay_type": "none",
        "optm_weight_decay": 0.0,
    }
    assert run_program("train", train_spec) == 0
    before = dict(_load(tiny_model).named_parameters())
    after = dict(_load(Path(train_spec["results_dir"]) / "safetensors" / "epoch_1").named_parameters())
    for part, rate in rates.items():
        moved = max(float((after[name] - before[name]).abs().max()) for name in before if part_of(name) == part)
        assert 0.5 * rate < moved < 4 * rate  # Adam's steps are as long as the rate, and there are three


@pytest.mark.slow
def test_eva_starts_alike_on_two_processes(
    train_spec: Document, run_program: Run, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    from .test_train import _torchrun

    train_spec["policy"]["lora"] = {**LORA, "init_lora_weights": "eva"}
    train_spec["train"] |= {"epoch": 1, "optm_lr": 1e-2}
    assert run_program("train", train_spec) == 0
    train_spec["results_dir"] = str(tmp_path / "two")
    train_spec["train"]["train_batch_per_replica"] = 4
    train_spec["policy"]["parallelism"] = {"dp_replicate_size": 2}
    finished = _torchrun(write_config(train_spec, "two"), 2)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "run"), rel=2e-4)
