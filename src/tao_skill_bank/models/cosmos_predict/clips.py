"""Windows of clips: frames selected per epoch, decoded, resized and scaled to [-1, 1]."""

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from numpy.typing import NDArray

from tao_skill_bank.data.media import clip_frames
from tao_skill_bank.data.media.clip_index import whole_clip_index
from tao_skill_bank.models.cosmos_predict.geometry import SIZE_MULTIPLE


def frame_count(video: Path) -> int:
    """Return the number of frames that a clip shows, read from its packets. Raises BlockedError like `load_window`."""
    return len(whole_clip_index(video))


def frame_size(video: Path) -> tuple[int, int]:
    """Return (height, width) of a clip as shown, in pixels. Raises BlockedError like `load_window`."""
    index = whole_clip_index(video)
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
    window = torch.empty(3, num_frames, *size)
    wanted = range(start, start + num_frames)
    for position, frame in clip_frames.iterate(video, wanted, seek=True):
        window[:, position - start] = _resized(frame, size)
    return window.div_(127.5).sub_(1.0)


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


def _resized(frame: NDArray[np.uint8], size: tuple[int, int]) -> torch.Tensor:
    """Return an RGB frame as uint8 of shape (3, height, width)."""
    pixels = torch.from_numpy(frame).permute(2, 0, 1)
    if pixels.shape[1:] == size:
        return pixels
    return F.interpolate(pixels[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
