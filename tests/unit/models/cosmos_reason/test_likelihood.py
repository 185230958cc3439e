"""Likelihoods of choices next to a plain forward pass over prompt and choice, one at a time."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill_bank.models.cosmos_reason import data, likelihood
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import question_and_answer
from tao_skill_bank.models.cosmos_reason.loader import Padding, collate, to_device
from tao_skill_bank.models.cosmos_reason.processor import Processor, Sample

CPU = torch.device("cpu")


@pytest.fixture
def network(tiny_model: Path) -> Any:
    from transformers import Qwen3VLForConditionalGeneration

    loaded = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in loaded.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.1, generator=generator)
    return loaded


def _samples(clips: Path, processor: Processor, *, with_media: bool) -> list[Sample]:
    annotations = data.read_annotations(str(clips / "test" / "annotations.json"))[:3]
    for record, words in zip(annotations, ("Which way does it go, left or right?", "Go?", "Left?"), strict=True):
        record["conversations"] = [{"from": "human", "value": words}, {"from": "gpt", "value": "left"}]
    for record in annotations[1 if with_media else 0 :][:: 1 if not with_media else 2]:
        record["video"] = None
    records = data.Records(
        annotations, str(clips / "test"), processor, data.Presentation(VideoSampling(nframes=4), 4096)
    )
    prompts = [question_and_answer(records.conversation(index))[0] for index in range(3)]
    return [processor.encode(prompt, records.frames(prompt), max_length=4096, answer=True) for prompt in prompts]


def _plain(network: Any, processor: Processor, sample: Sample, choice: str) -> float:
    """Return the log-likelihood by one pass over prompt and choice, without a cache."""
    ids = processor.tokenizer(choice, add_special_tokens=False)["input_ids"]
    inputs = to_device(collate([sample], Padding(processor)), CPU, processor).inputs
    for key, values in (("input_ids", ids), ("attention_mask", [1] * len(ids)), ("mm_token_type_ids", [0] * len(ids))):
        inputs[key] = torch.cat([inputs[key], torch.tensor([values])], dim=1)
    with torch.inference_mode():
        scores = network(**inputs).logits[0].log_softmax(-1)
    start = len(sample.input_ids) - 1
    return sum(float(scores[start + step, token]) for step, token in enumerate(ids))


@pytest.mark.parametrize("with_media", [True, False])
def test_a_choice_has_the_likelihood_of_a_plain_forward_pass(
    network: Any, processor: Processor, clips: Path, with_media: bool
) -> None:
    samples = _samples(clips, processor, with_media=with_media)
    choices = [("left", "right of it", "straight on, then left"), ("yes", "no"), ("left right", "left left", "no")]
    lengths = {len(processor.tokenizer(choice)["input_ids"]) for own in choices for choice in own}
    assert len(lengths) > 2
    batch = collate(samples, Padding(processor, side="left"))
    found = likelihood.score(network, batch, processor, choices, CPU)
    for sample, own, scores in zip(samples, choices, found, strict=True):
        expected = {choice: _plain(network, processor, sample, choice) for choice in own}
        assert scores == pytest.approx(expected, abs=1e-4)


def test_choices_of_one_token_need_one_pass(
    network: Any, processor: Processor, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda **inputs: calls.append(1) or forward(**inputs))
    batch = collate(_samples(clips, processor, with_media=True), Padding(processor, side="left"))
    likelihood.score(network, batch, processor, [("left", "right")] * 3, CPU)
    assert len(calls) == 1
