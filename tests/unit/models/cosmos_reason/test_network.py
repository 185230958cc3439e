"""The fast forward pass equals transformers' own, in float64, for packed samples of different media."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill_bank.data.records.values import Media
from tao_skill_bank.models.cosmos_reason import loader
from tao_skill_bank.models.cosmos_reason.blocks import Execution
from tao_skill_bank.models.cosmos_reason.conversation import Conversation, parse
from tao_skill_bank.models.cosmos_reason.media import Features, Frames
from tao_skill_bank.models.cosmos_reason.network import Network
from tao_skill_bank.models.cosmos_reason.packing import Packed, Packer, pack
from tao_skill_bank.models.cosmos_reason.processor import Processor, Sample

LORA = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj", "up_proj", "down_proj", "attn.qkv"]}


def _load(folder: Path) -> Any:
    from transformers import Qwen3VLForConditionalGeneration

    return Qwen3VLForConditionalGeneration.from_pretrained(str(folder), dtype=torch.float64)


def _frames(item: Media, seed: int) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    time, height, width = (1, 96, 64) if item.kind == "image" else (4 + 2 * (seed % 2), 64, 32 * (1 + seed % 3))
    pixels = torch.randint(0, 256, (time, 3, height, width), dtype=torch.uint8, generator=generator)
    return Frames(pixels, () if item.kind == "image" else tuple(range(time // 2)))


def _conversation(index: int, **media: Any) -> Conversation:
    turns = [
        {"from": "human", "value": f"What happens in number {index}?"},
        {"from": "gpt", "value": "left" * (1 + index)},
        {"from": "human", "value": "And now?"},
        {"from": "gpt", "value": f"right {index}"},
    ]
    return parse({"id": str(index), "conversations": turns, **media}, index)


def _samples(processor: Processor) -> list[Sample]:
    shown = [
        _conversation(0, video="a.mp4"),
        _conversation(1),
        _conversation(2, video="b.mp4", images=["c.png", "d.png"]),
        _conversation(3, images=["e.png"]),
        _conversation(4, video="f.mp4"),
    ]
    return [
        processor.encode(one, [_frames(item, 7 * row + n) for n, item in enumerate(one.media)], max_length=4096)
        for row, one in enumerate(shown)
    ]


def _reference_loss(model: Any, samples: list[Sample], processor: Processor) -> torch.Tensor:
    """Sum the loss of every sample, one by one, through transformers."""
    total = torch.zeros((), dtype=torch.float64)
    for sample in samples:
        batch = loader.to_device(loader.collate([sample], loader.Padding(processor)), torch.device("cpu"), processor)
        logits = model(**batch.inputs, use_cache=False).logits
        targets = batch.labels[:, 1:].flatten()
        total = total + torch.nn.functional.cross_entropy(logits[0, :-1], targets, ignore_index=-100, reduction="sum")
    return total


def _gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def _assert_same_gradients(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        # transformers' norms compute in float32, whatever the model's type is
        assert float((got[name] - gradient).norm()) <= 2e-5 * float(gradient.norm()) + 1e-9, name


@pytest.mark.parametrize("execution", [Execution(), Execution(recompute=0.5)])
def test_packed_samples_give_transformers_loss_and_gradients(
    execution: Execution, tiny_model: Path, processor: Processor
) -> None:
    samples, plain = _samples(processor), _load(tiny_model)
    expected = _reference_loss(plain, samples, processor)
    expected.backward()
    model = _load(tiny_model)
    got = Network(model, processor.pixel_format, execution)(pack(samples, Packer(processor)))
    got.backward()
    assert got.item() == pytest.approx(expected.item(), rel=1e-7)  # pixels are normalized in float32
    _assert_same_gradients(_gradients(model), _gradients(plain))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"use_rslora": True}, {"modules_to_save": ["visual"]}])
def test_adapters_compute_what_peft_computes(options: dict[str, Any], tiny_model: Path, processor: Processor) -> None:
    from peft import LoraConfig, get_peft_model

    models = []
    for _ in range(2):
        torch.manual_seed(3)
        chosen = {**LORA, **options}
        if "modules_to_save" in options:
            chosen["target_modules"] = ["q_proj", "v_proj"]
        adapted = get_peft_model(_load(tiny_model), LoraConfig(**chosen)).double()
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
        models.append(adapted)
    samples = _samples(processor)
    expected = _reference_loss(models[0], samples, processor)
    expected.backward()
    got = Network(models[1], processor.pixel_format, Execution())(pack(samples, Packer(processor)))
    got.backward()
    assert got.item() == pytest.approx(expected.item(), rel=1e-7)
    _assert_same_gradients(_gradients(models[1]), _gradients(models[0]))


def test_a_packed_sample_gives_what_it_gives_alone(tiny_model: Path, processor: Processor) -> None:
    samples = _samples(processor)
    network = Network(_load(tiny_model), processor.pixel_format, Execution())
    with torch.no_grad():
        packed = network.states(pack(samples, Packer(processor)))
        start = 0
        for sample in samples:
            size = len(sample.input_ids)
            alone = network.states(pack([sample], Packer(processor)))[:size]
            torch.testing.assert_close(packed[start : start + size], alone, rtol=1e-9, atol=1e-9)
            start += size


def test_known_features_replace_the_vision_tower(tiny_model: Path, processor: Processor) -> None:
    shown = [_conversation(0, video="a.mp4"), _conversation(1, images=["b.png", "c.png"])]
    network = Network(_load(tiny_model), processor.pixel_format, Execution())
    media = [[_frames(item, row) for item in one.media] for row, one in enumerate(shown)]
    plain = [processor.encode(one, frames, max_length=4096) for one, frames in zip(shown, media, strict=True)]
    geometry, known = processor.pixel_format.geometry, []
    with torch.no_grad():
        for one, frames in zip(shown, media, strict=True):
            features = []
            for medium in frames:
                grid = medium.grid(geometry)
                sample = processor.encode(one, frames, max_length=4096)
                assert sample.patches is not None
                patches = sample.patches.split([int(torch.tensor(g).prod()) for g in sample.grids])
                values = network.encode(patches[len(features)], (grid,))
                features.append(Features(values, grid, medium.timestamps))
            known.append(processor.encode(one, features, max_length=4096))
        expected = float(network(pack(plain, Packer(processor))))
        assert float(network(pack(known, Packer(processor)))) == pytest.approx(expected, rel=1e-9)
        assert float(network(pack([known[0], plain[1]], Packer(processor)))) == pytest.approx(expected, rel=1e-9)
        assert pack(known, Packer(processor)).patches is None


def test_a_spare_picture_keeps_the_tower_running_and_changes_nothing(tiny_model: Path, processor: Processor) -> None:
    text = _samples(processor)[1]
    plain, spare = pack([text], Packer(processor)), pack([text], Packer(processor, needs_media=True))
    assert (plain.patches, spare.has_spare_media) == (None, True)
    model = _load(tiny_model)
    network = Network(model, processor.pixel_format, Execution())
    expected, got = network(plain), network(spare)
    assert got.item() == pytest.approx(expected.item(), rel=1e-12)
    got.backward()
    found = _gradients(model)
    assert all(not found[name].any() for name in found if ".visual." in name)
    assert any(".visual." in name for name in found)


def test_uncounted_samples_have_no_labels(processor: Processor) -> None:
    samples = _samples(processor)[:2]
    batch: Packed = pack(samples, Packer(processor), counted=[True, False])
    assert batch.num_labels == int((samples[0].labels[1:] != -100).sum())
    assert batch.num_samples == 1


def test_gradients_of_bfloat16_point_where_those_of_float64_do(tiny_model: Path, processor: Processor) -> None:
    samples = _samples(processor)
    exact, fast = _load(tiny_model), _load(tiny_model).to(torch.bfloat16)
    _reference_loss(exact, samples, processor).backward()
    Network(fast, processor.pixel_format, Execution())(pack(samples, Packer(processor))).backward()
    got, expected = _gradients(fast), _gradients(exact)
    flat = [torch.cat([found[name].double().flatten() for name in expected]) for found in (got, expected)]
    assert float(torch.nn.functional.cosine_similarity(*flat, dim=0)) > 0.999
