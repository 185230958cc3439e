"""Windows of clips: frames selected per epoch, decoded, resized and scaled to [-1, 1]."""

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from tao_skill_bank.data.media_probe import require_decoder
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict.geometry import SIZE_MULTIPLE

INDEXED_CLIPS = 4096  # clips with cached frame times; 93 frames take 4 KB


@dataclass(frozen=True)
class FrameIndex:
    """Presentation times of a clip's frames in ascending order, in the stream's own ticks."""

    times: tuple[int, ...]
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.times)


def frame_count(video: Path) -> int:
    """Return the number of frames that a clip shows, read from its packets. Raises BlockedError like `load_window`."""
    return len(frame_index(video))


def frame_size(video: Path) -> tuple[int, int]:
    """Return (height, width) of a clip in pixels. Raises BlockedError like `load_window`."""
    index = frame_index(video)
    return index.height, index.width


def window_start(total_frames: int, num_frames: int, seed: int, epoch: int, index: int, window: int = 0) -> int:
    """Return the first frame of a random window, the same on every rank, worker and machine.

    Args:
        total_frames: frames of the clip.
        num_frames: frames of the window; at most `total_frames`.
        seed: seed of the run.
        epoch: the epoch; 0 for windows that are the same in all epochs.
        index: position of the clip in the dataset.
        window: number of the window among those of the same clip and epoch.

    """
    key = f"{seed}|{epoch}|{index}|{window}".encode()
    draw = int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
    return draw % (total_frames - num_frames + 1)


def load_window(video: Path, start: int, num_frames: int, size: tuple[int, int]) -> torch.Tensor:
    """Decode frames `start` to `start + num_frames` of a clip.

    Frames are resized one by one, without regard to the aspect ratio, as diffusers' VideoProcessor does for images:
    bilinear with antialiasing, rounded to 8 bits.

    Args:
        video: mp4 file.
        start: first frame, counted from 0.
        num_frames: frames of the window.
        size: (height, width) of the result.

    Returns:
        float32 tensor of shape (3, num_frames, height, width) in [-1, 1].

    Raises:
        BlockedError: the clip is missing, cannot be decoded, or is too short.

    """
    index = frame_index(video)
    if start < 0 or start + num_frames > len(index):
        message = f"{video} has {len(index)} frames; frames {start} to {start + num_frames - 1} were requested."
        raise BlockedError.of(
            "clip_too_short", message, "Lower the number of frames, or drop the clip.", path=str(video)
        )
    wanted = index.times[start : start + num_frames]
    import av

    window = torch.empty(3, num_frames, *size)
    try:
        # If a seek lands after the window (its key frame is displayed later than stored), decode from the start.
        if not (_decode_into(window, video, wanted, seek=start > 0) or _decode_into(window, video, wanted, seek=False)):
            raise _unreadable(video, f"not all of the frames {start} to {start + num_frames - 1} can be decoded")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(video, _first_line(error)) from None
    return window.div_(127.5).sub_(1.0)


def frame_index(video: Path) -> FrameIndex:
    """Read the times of all frames without decoding them; cached until the file changes.

    Raises:
        BlockedError: the file is missing or has no frames.

    """
    try:
        changed = video.stat().st_mtime_ns
    except OSError as error:
        raise _unreadable(video, error.strerror or "it cannot be opened") from None
    return _read_index(video, changed)


def bucket_for(width: int, height: int, area: int) -> tuple[int, int]:
    """Return the (height, width) in multiples of 16 closest to a clip's aspect ratio, of at most `area` pixels.

    Distorting the clip costs twice as much as losing area.
    """
    ideal_height = math.sqrt(area * height / width)
    best: tuple[float, int, int] | None = None
    for step in range(-2, 3):
        rows = min(max(1, round(ideal_height / SIZE_MULTIPLE) + step), max(1, area // SIZE_MULTIPLE**2))
        most = area // (rows * SIZE_MULTIPLE * SIZE_MULTIPLE)  # columns of blocks that fit into the area
        nearest = round(rows * width / height)
        columns = max(1, min(nearest, most))
        stretch = abs(math.log(columns / rows * height / width))
        lost = abs(math.log(rows * columns * SIZE_MULTIPLE**2 / area))
        candidate = (2 * stretch + lost, rows * SIZE_MULTIPLE, columns * SIZE_MULTIPLE)
        best = min(best, candidate) if best else candidate
    assert best
    return best[1], best[2]


@lru_cache(maxsize=INDEXED_CLIPS)
def _read_index(video: Path, changed: int) -> FrameIndex:  # noqa: ARG001 - part of the cache's key
    require_decoder()
    import av

    try:
        with av.open(str(video)) as container:
            if not container.streams.video:
                raise _unreadable(video, "it has no video stream")
            stream = container.streams.video[0]
            shown = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
            width, height = stream.codec_context.width, stream.codec_context.height
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(video, _first_line(error)) from None
    if not shown or len({*shown, None}) != len(shown) + 1:
        reason = "its frames do not have distinct timestamps" if shown else "it has no frames"
        raise _unreadable(video, reason)
    return FrameIndex(tuple(sorted(shown)), width, height)


def _decode_into(window: torch.Tensor, video: Path, wanted: tuple[int, ...], *, seek: bool) -> bool:
    """Fill a window with the frames of the given times; return whether all of them were found."""
    import av
    from av.video.reformatter import VideoReformatter

    positions = {time: position for position, time in enumerate(wanted)}
    converter = VideoReformatter()  # shared by all frames: creating one takes 1 ms
    num_found = 0
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if seek:
            container.seek(wanted[0], stream=stream)
        for frame in container.decode(stream):
            position = positions.get(frame.pts)
            if position is not None:
                window[:, position] = _resized(converter.reformat(frame, format="rgb24"), window.shape[2:])
                num_found += 1
            if num_found == len(wanted) or (num_found == 0 and (frame.pts or 0) > wanted[0]):
                break
    return num_found == len(wanted)


def _resized(frame: Any, size: torch.Size) -> torch.Tensor:
    """Return an RGB frame as uint8 of shape (3, height, width)."""
    pixels = torch.from_numpy(frame.to_ndarray()).permute(2, 0, 1)
    if pixels.shape[1:] == size:
        return pixels
    return F.interpolate(pixels[None], size=tuple(size), mode="bilinear", antialias=True, align_corners=False)[0]


def _unreadable(video: Path, reason: str) -> BlockedError:
    message = f"Clip {video} cannot be read: {reason}."
    return BlockedError.of("media_unreadable", message, "Replace or re-encode the file, or drop it.", path=str(video))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
