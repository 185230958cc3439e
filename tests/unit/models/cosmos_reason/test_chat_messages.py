"""What a server gets is what the model would see here: held against the installed transformers processor."""

import base64
import io
from pathlib import Path
from typing import Any

import av
import media_pool
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import chat_messages
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import Conversation, parse, question_and_answer
from tao_skill_bank.models.cosmos_reason.media import Frames, read_image, read_video
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.vision import normalize
from tao_skill_bank.samples.vlm import write_video

from .transformers_processor import build

CASES = [  # frames, height, width, rate, sampling
    (8, 64, 64, 4, VideoSampling(nframes=8)),
    (31, 120, 200, 10, VideoSampling(fps=2.0)),
    (31, 120, 200, 10, VideoSampling(nframes=5)),
    (31, 120, 200, 10, VideoSampling(nframes=3, total_pixels=60_000)),
    (31, 120, 200, 10, VideoSampling(nframes=2)),
    (31, 64, 64, 10, VideoSampling(nframes=1)),
]


def _prompt(**record: Any) -> Conversation:
    turns = [{"from": "human", "value": "Which way?"}, {"from": "gpt", "value": "left"}]
    return question_and_answer(parse({"id": "r", **record, "conversations": turns}, 0, system_prompt="Be brief."))[0]


def _payload(part: dict[str, Any], kind: str, mime: str) -> bytes:
    url = part[kind]["url"]
    assert part["type"] == kind
    assert url.startswith(f"data:{mime};base64,")
    return base64.b64decode(url.partition(",")[2])


def _decoded(data: bytes) -> tuple[float, torch.Tensor]:
    with av.open(io.BytesIO(data)) as container:
        rate = float(container.streams.video[0].average_rate or 0)
        frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return rate, torch.stack(frames).permute(0, 3, 1, 2)


def _noise(count: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 255, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("case", CASES)
def test_the_server_sees_our_frames_and_times_to_the_last_bit(
    case: tuple[int, int, int, int, VideoSampling], processor: Processor, tmp_path: Path
) -> None:
    count, height, width, rate, vision = case
    write_video(tmp_path / "clip.mp4", _noise(count, height, width), rate)
    frames = read_video(tmp_path / "clip.mp4", vision)
    prompt = _prompt(video="clip.mp4")
    sample = processor.encode(prompt, [frames], max_length=10_000, answer=True)

    sent = chat_messages.messages(prompt, [frames])
    assert [message["role"] for message in sent] == ["system", "user"]
    assert sent[1]["content"][1] == {"type": "text", "text": "Which way?"}
    sent_rate, pixels = _decoded(_payload(sent[1]["content"][0], "video_url", "video/mp4"))
    text = processor.tokenizer.apply_chat_template(list(prompt.messages), tokenize=False, add_generation_prompt=True)
    options = chat_messages.untouched([frames])["mm_processor_kwargs"]
    metadata = {"fps": sent_rate, "frames_indices": list(range(len(pixels))), "total_num_frames": len(pixels)}
    reference = build(processor.tokenizer)(
        text=[text], videos=[pixels], video_metadata=[metadata], return_tensors="pt", **options
    )
    assert reference["input_ids"][0].tolist() == sample.input_ids.tolist()
    assert torch.equal(reference["pixel_values_videos"], normalize(sample.patches, processor.pixel_format))


@pytest.mark.parametrize(("count", "nframes"), [(150, 20), (150, 7), (40, 39), (31, 30)])
def test_frames_between_source_frames_are_told_within_half_a_source_frame(
    count: int, nframes: int, tmp_path: Path
) -> None:
    rate = 2
    write_video(tmp_path / "clip.mp4", _noise(count, 64, 32), rate)
    frames = read_video(tmp_path / "clip.mp4", VideoSampling(nframes=nframes))
    sent = float(chat_messages.frame_rate(frames))
    seconds = [index / sent for index in (*range(nframes), nframes - 1)]
    told = [(seconds[first] + seconds[first + 1]) / 2 for first in range(0, nframes, 2)]
    assert told == pytest.approx(frames.timestamps, abs=0.5 / rate)


def test_frames_whose_times_a_server_cannot_be_sent_are_refused(tmp_path: Path) -> None:
    times = [0, 10, 20, 70, 80, 160, 170, 300, 310, 320]
    media_pool.clip(tmp_path / "uneven.mp4", [media_pool.numbered(index) for index in range(10)], times=times)
    media_pool.clip(tmp_path / "even.mp4")
    uneven = read_video(tmp_path / "uneven.mp4", VideoSampling(nframes=10))
    late = read_video(tmp_path / "even.mp4", VideoSampling(nframes=6, video_start=1.0))
    for frames in (uneven, late):
        with pytest.raises(BlockedError, match="server would name") as caught:
            chat_messages.messages(_prompt(video="clip.mp4"), [frames])
        assert "evaluation.engine=transformers" in caught.value.problems[0].fix


def test_opencv_which_vllm_decodes_with_reads_the_same_frames_and_rate(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    write_video(tmp_path / "clip.mp4", _noise(31, 96, 64), 10)
    frames = read_video(tmp_path / "clip.mp4", VideoSampling(nframes=7))
    sent = chat_messages.messages(_prompt(video="clip.mp4"), [frames])
    (tmp_path / "sent.mp4").write_bytes(_payload(sent[1]["content"][0], "video_url", "video/mp4"))
    capture = cv2.VideoCapture(str(tmp_path / "sent.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 7
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(6 / 3.0, rel=1e-4)  # 7 frames from 0.0 to 3.0 seconds
    read = [capture.read()[1] for _ in range(7)]
    pixels = torch.from_numpy(np.stack(read)[..., ::-1].copy()).permute(0, 3, 1, 2)
    assert torch.equal(pixels, frames.pixels)


def test_an_image_is_sent_without_loss(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(_noise(1, 90, 150)[0]).save(tmp_path / "a.png")
    frames = read_image(tmp_path / "a.png", VideoSampling(fps=1.0))
    part = chat_messages.messages(_prompt(image="a.png"), [frames])[1]["content"][0]
    with Image.open(io.BytesIO(_payload(part, "image_url", "image/png"))) as image:
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
    assert torch.equal(pixels, frames.pixels[0])


def test_frames_larger_than_a_processors_cap_are_kept_as_they_are() -> None:
    small, large = (Frames(torch.zeros(2, 3, side, side, dtype=torch.uint8), (0.0,)) for side in (864, 896))
    assert "cap_pixels_per_frame" not in chat_messages.untouched([small])["mm_processor_kwargs"]
    assert chat_messages.untouched([small, large])["mm_processor_kwargs"]["cap_pixels_per_frame"] is False
