"""Answers of a batch beside those of each question alone, through the key-value cache."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill_bank.models.cosmos_reason import data
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import question_and_answer
from tao_skill_bank.models.cosmos_reason.generate import CountPenalty, Decoding, answer
from tao_skill_bank.models.cosmos_reason.loader import Padding, collate, to_device
from tao_skill_bank.models.cosmos_reason.processor import Processor, Sample

CPU = torch.device("cpu")
NEW_TOKENS = 12


@pytest.fixture
def samples(clips: Path, processor: Processor) -> list[Sample]:
    """A long question about a video, a short one about another, one without media and one about two videos."""
    annotations = data.read_annotations(str(clips / "test" / "annotations.json"))[:4]
    asked = ("Which way does it go, left, right or straight on?", "Go?", "Left, right?", "<video><video>Both left?")
    for record, words in zip(annotations, asked, strict=True):
        record["conversations"] = [{"from": "human", "value": words}, {"from": "gpt", "value": "left"}]
    annotations[2]["video"] = None
    annotations[3]["video"] = [annotations[0]["video"], annotations[1]["video"]]
    shown = data.Presentation(VideoSampling(nframes=4), 4096)
    records = data.Records(annotations, str(clips / "test"), processor, shown)
    prompts = [question_and_answer(records.conversation(index))[0] for index in range(4)]
    return [processor.encode(prompt, records.frames(prompt), max_length=4096, answer=True) for prompt in prompts]


@pytest.fixture
def network(tiny_model: Path) -> Any:
    """The tiny model with large random weights: what it says depends on all it sees, and hardly ever ends."""
    from transformers import Qwen3VLForConditionalGeneration

    loaded = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in loaded.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3, generator=generator)
    return loaded


def _generated(network: Any, processor: Processor, samples: list[Sample], **options: Any) -> torch.Tensor:
    batch = to_device(collate(samples, Padding(processor, side="left")), CPU, processor)
    length = batch.inputs["input_ids"].shape[1]
    reserved = [*processor.pad_ids.values(), *processor.tokenizer.all_special_ids]  # a random model says these too
    with torch.inference_mode():
        found = network.generate(
            **batch.inputs, max_new_tokens=NEW_TOKENS, do_sample=False, suppress_tokens=reserved, **options
        )
    return torch.as_tensor(found)[:, length:]


def test_a_batch_says_what_each_of_its_questions_gets_alone_without_any_cache(
    network: Any, processor: Processor, samples: list[Sample]
) -> None:
    together = _generated(network, processor, samples)
    assert len({len(sample.input_ids) for sample in samples}) == 4
    assert len({tuple(row.tolist()) for row in together}) >= 3  # the answers differ, so that a mix-up would show
    for row, sample in zip(together, samples, strict=True):
        assert row.tolist() == _generated(network, processor, [sample], use_cache=False)[0].tolist()


def test_rows_that_end_early_do_not_change_the_others(
    network: Any, processor: Processor, samples: list[Sample]
) -> None:
    padding = Padding(processor, side="left")
    together = answer(network, collate(samples, padding), processor, Decoding(NEW_TOKENS), CPU)
    alone = [answer(network, collate([sample], padding), processor, Decoding(NEW_TOKENS), CPU)[0] for sample in samples]
    assert together == alone


def test_penalties_lower_what_was_generated_and_not_the_prompt() -> None:
    penalty = CountPenalty(prompt_length=2, presence=0.5, frequency=0.25)
    scores = penalty(torch.tensor([[3, 3, 1, 1, 2]]), torch.zeros(1, 4))
    assert scores.tolist() == [[0.0, -1.0, -0.75, 0.0]]
