"""Converts a prompt into chat request messages with exactly the frames that we sampled and resized.

A clip is sent as a video of our frames, encoded losslessly (H.264 of RGB, quantiser 0): the server must only be
configured not to sample and resize. Its frame rate is our sampling rate, so that the server computes our timestamps:
frame i of such a file is at i / rate seconds. (Where our even spacing falls between source frames, ours are the source
frames' times, and the server's differ by up to half a source frame.)

Alternatives lose information. Single images would be encoded frame by frame, but the model was trained on two frames
per token. vLLM's `video/jpeg` list of frames has no timestamps: Qwen3-VL's `<0.5 seconds>` marks come out wrong, or the
request fails (Qwen3-VL issues 1643 and 1762).
"""

import base64
import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.conversation import Conversation
from tao_skill_bank.models.cosmos_reason.media import Frames

CODEC, PIXEL_FORMAT = "libx264rgb", "rgb24"
FINEST_RATE = 90_000  # denominators of frame rates, in the ticks of common containers
STILL_RATE = 1000  # for a single frame, which is sent twice: both are at 0.0 seconds
EVERY_FRAME: dict[str, Any] = {"video": {"num_frames": -1}}
ANY_SIZE: dict[str, Any] = {"shortest_edge": 32 * 32, "longest_edge": 2**31}
CAPPED_PIXELS = 768 * 32 * 32  # per frame; newer processors scale larger ones down by default


def messages(prompt: Conversation, media: Sequence[Frames]) -> list[dict[str, Any]]:
    """Return the prompt's messages; with its media in place, as data URIs.

    Raises:
        BlockedError: a clip's frames are not evenly spaced from second 0 on, so that a server would name other times.

    """
    for frames in media:
        _require_even_times(prompt, frames)
    shown = iter(media)
    return [
        {"role": message["role"], "content": [_part(part, shown) for part in message["content"]]}
        for message in prompt.messages
    ]


def untouched(media: Sequence[Frames]) -> dict[str, Any]:
    """Return request options that prevent the server from sampling and resizing the media."""
    processing: dict[str, Any] = {"do_sample_frames": False, "size": ANY_SIZE}
    if any(frames.pixels.shape[-2] * frames.pixels.shape[-1] > CAPPED_PIXELS for frames in media):
        processing["cap_pixels_per_frame"] = False
    return {"media_io_kwargs": EVERY_FRAME, "mm_processor_kwargs": processing}


def frame_rate(frames: Frames) -> Fraction:
    """Return the frames per second of evenly sampled frames, the first of them at 0.

    The last timestamp is the mean time of the first and the last frame of the last temporal patch.
    """
    num_frames, seconds = len(frames.pixels), frames.timestamps[-1]
    per_patch = -(-num_frames // len(frames.timestamps))
    first = (num_frames - 1) // per_patch * per_patch
    position = (first + min(first + per_patch - 1, num_frames - 1)) / 2
    return Fraction(position / seconds).limit_denominator(FINEST_RATE) if position and seconds else Fraction(STILL_RATE)


def _require_even_times(prompt: Conversation, frames: Frames) -> None:
    """Refuse frames whose times differ by more than half a sampling interval from those of a constant rate."""
    if len(frames.timestamps) < 2:
        return
    rate, num_frames = float(frame_rate(frames)), len(frames.pixels)
    per_patch = -(-num_frames // len(frames.timestamps))
    for patch, ours in enumerate(frames.timestamps):
        first = patch * per_patch
        theirs = (first + min(first + per_patch - 1, num_frames - 1)) / 2 / rate
        if abs(theirs - ours) > 0.5 / rate:
            message = (
                f"A clip of record {prompt.record_id} has frames that are not evenly spaced from second 0 on: for "
                f"{ours:.1f} seconds a server would name {theirs:.1f}, and it cannot be sent the times."
            )
            fix = (
                "Set evaluation.engine=transformers, or copy the clip at a constant rate: "
                "python -m tao_skill_bank.constant_rate IN OUT"
            )
            raise BlockedError.of("uneven_frame_times", message, fix, path=prompt.record_id)


def _part(part: dict[str, Any], shown: Any) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    frames = next(shown)
    if part["type"] == "image":
        return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_png(frames)}"}}
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{_mp4(frames)}"}}


def _png(frames: Frames) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frames.pixels[0].permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _mp4(frames: Frames) -> str:
    import av

    buffer, rate = io.BytesIO(), frame_rate(frames)
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream(CODEC, rate=rate, options={"qp": "0", "preset": "veryfast"})
        stream.height, stream.width = frames.pixels.shape[-2:]
        stream.pix_fmt = PIXEL_FORMAT
        images = frames.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        for image in images if len(images) > 1 else [*images, *images]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format=PIXEL_FORMAT)))
        container.mux(stream.encode(None))
    return base64.b64encode(buffer.getvalue()).decode()
