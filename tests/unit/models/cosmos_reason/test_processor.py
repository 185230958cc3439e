"""Token ids, labels and patches, held against the installed transformers processor."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import tokens
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import parse
from tao_skill_bank.models.cosmos_reason.media import Frames, read_image, read_video
from tao_skill_bank.models.cosmos_reason.processor import IGNORED, Processor
from tao_skill_bank.models.cosmos_reason.vision import normalize
from tao_skill_bank.samples.vlm import write_video

from .transformers_processor import build

CLIPS = [  # frames, height, width, rate, sampling
    (8, 64, 64, 4, VideoSampling(nframes=8)),
    (31, 120, 200, 10, VideoSampling(fps=2.0)),
    (31, 120, 200, 10, VideoSampling(fps=4.0, total_pixels=60_000)),
    (24, 48, 90, 12, VideoSampling(fps=4.0, min_pixels=20_000)),
    (40, 96, 96, 8, VideoSampling(nframes=6, video_start=1.0, video_end=4.0)),
    (150, 32, 64, 2, VideoSampling(fps=0.5, max_frames=20)),
]


def _clip(path: Path, num_frames: int, height: int, width: int, rate: int) -> Path:
    random = np.random.default_rng(num_frames)
    write_video(path, random.integers(0, 255, (num_frames, height, width, 3), dtype=np.uint8), rate)
    return path


def _record(*turns: str) -> dict[str, Any]:
    roles = ("human", "gpt")
    return {
        "id": "r1",
        "video": "clip.mp4",
        "conversations": [{"from": roles[i % 2], "value": text} for i, text in enumerate(turns)],
    }


@pytest.mark.slow
@pytest.mark.parametrize("case", CLIPS)
def test_sequences_pixels_and_counts_equal_those_of_transformers(
    case: tuple[int, int, int, int, VideoSampling], processor: Processor, tmp_path: Path
) -> None:
    count, height, width, rate, vision = case
    path = _clip(tmp_path / "clip.mp4", count, height, width, rate)
    frames = read_video(path, vision)
    sample = processor.encode(parse(_record("What?", "left"), 0), [frames], max_length=10_000)

    indices = tokens.frame_indices(vision, container_fps=rate, num_container_frames=count)
    raw = torch.stack([_decoded(path)[index] for index in indices])
    budget = {"shortest_edge": (vision.min_pixels or 1024) * len(indices), "longest_edge": vision.total_pixels}
    messages = parse(_record("What?", "left"), 0).messages
    text = processor.tokenizer.apply_chat_template(list(messages), tokenize=False)
    metadata = {"fps": rate, "frames_indices": list(indices), "total_num_frames": count}
    reference = build(processor.tokenizer)(
        text=[text],
        videos=[raw],
        video_metadata=[metadata],
        do_sample_frames=False,
        size=budget,
        return_tensors="pt",
    )
    assert reference["input_ids"][0].tolist() == sample.input_ids.tolist()
    assert torch.equal(torch.as_tensor(reference["mm_token_type_ids"][0]), sample.token_types)
    assert reference["video_grid_thw"].tolist() == [list(grid) for grid in sample.grids]
    assert torch.equal(reference["pixel_values_videos"], normalize(sample.patches, processor.pixel_format))
    without = processor.encode(parse({**_record("What?", "left"), "video": None}, 0), [], max_length=100)
    counted = tokens.video_tokens(
        vision,
        width=width,
        height=height,
        duration_seconds=count / rate,
        container_fps=rate,
        num_container_frames=count,
    )
    assert counted == len(sample.input_ids) - len(without.input_ids)


def _decoded(path: Path) -> list[torch.Tensor]:
    import av

    with av.open(str(path)) as container:
        return [torch.from_numpy(f.to_ndarray(format="rgb24")).permute(2, 0, 1) for f in container.decode(video=0)]


def test_an_image_costs_the_tokens_that_were_counted(processor: Processor, tmp_path: Path) -> None:
    from PIL import Image

    for width, height, vision in ((100, 70, VideoSampling()), (640, 480, VideoSampling(max_pixels=40_000))):
        Image.new("RGB", (width, height), "red").save(tmp_path / "image.png")
        record = {"id": "i", "image": "image.png", "conversations": _record("What?", "left")["conversations"]}
        frames = read_image(tmp_path / "image.png", vision)
        sample = processor.encode(parse(record, 0), [frames], max_length=10_000)
        text = processor.encode(parse({**record, "image": None}, 0), [], max_length=100)
        counted = tokens.image_tokens(vision, width=width, height=height)
        assert len(sample.input_ids) - len(text.input_ids) == counted
        num_patches = math.prod(sample.grids[0])
        assert num_patches == len(sample.patches)
        assert int((sample.token_types == 1).sum()) == num_patches // 4


def test_labels_are_the_assistant_turns_and_their_ends_and_nothing_else(processor: Processor) -> None:
    record = {"id": "t", "conversations": _record("One?", "left, not right", "Two?", "straight")["conversations"]}
    sample = processor.encode(parse(record, 0, system_prompt="You are a helpful assistant."), [], max_length=500)
    learned = sample.labels != IGNORED
    assert torch.equal(sample.labels[learned], sample.input_ids[learned])
    assert processor.tokenizer.decode(sample.input_ids[learned]) == "left, not right<|im_end|>straight<|im_end|>"
    hidden = processor.tokenizer.decode(sample.input_ids[~learned])
    assert "left" not in hidden
    assert "One?" in hidden


def test_an_answer_is_tokenized_as_generation_would_meet_it(processor: Processor) -> None:
    record = {"id": "t", "conversations": _record("One?", "\nleft")["conversations"]}
    trained = processor.encode(parse(record, 0), [], max_length=500)
    prompt = parse({"id": "t", "conversations": record["conversations"][:1]}, 0)
    asked = processor.encode(prompt, [], max_length=500, answer=True)
    first = int((trained.labels != IGNORED).nonzero()[0])
    assert torch.equal(trained.input_ids[:first], asked.input_ids)


def test_a_sequence_that_is_too_long_names_the_record_and_the_counts(processor: Processor) -> None:
    frames = Frames(torch.zeros(8, 3, 64, 64, dtype=torch.uint8), (0.1, 0.6, 1.1, 1.6))
    conversation = parse(_record("What?", "left"), 0)
    length = len(processor.encode(conversation, [frames], max_length=500).input_ids)
    with pytest.raises(BlockedError, match=f"r1 needs {length} tokens .16 of them vision tokens"):
        processor.encode(conversation, [frames], max_length=length - 1)


def test_a_reserved_token_in_the_text_is_refused(processor: Processor) -> None:
    record = {"id": "t", "conversations": _record("One <|video_pad|>?", "left")["conversations"]}
    with pytest.raises(BlockedError, match="reserved token"):
        processor.encode(parse(record, 0), [], max_length=500)


def test_a_record_without_an_answer_cannot_be_learned_from(processor: Processor) -> None:
    record = {"id": "t", "conversations": _record("One?")["conversations"]}
    with pytest.raises(BlockedError, match="no assistant turn"):
        processor.encode(parse(record, 0), [], max_length=500)


def test_code_that_a_folder_brings_is_neither_run_nor_asked_about(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "theirs")
    (folder / "code.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'mark')!r})\n")
    (folder / "config.json").write_text('{"model_type": "theirs", "auto_map": {"AutoConfig": "code.Config"}}')
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert Processor.load(folder).pad_ids == Processor.load(tiny_model).pad_ids
    assert not (tmp_path / "mark").exists()
