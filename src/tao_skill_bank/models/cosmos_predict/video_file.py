"""Writes generated videos as mp4 files, atomically."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tao_skill_bank.core import unfinished

Frames = NDArray[np.uint8]  # (frames, height, width, 3)
QUALITY = {
    "libx264": {"crf": "12", "preset": "medium"},
    "mpeg4": {"qscale": "2"},
}  # nearly lossless, because it is measured


def to_frames(pixels: Tensor) -> Frames:
    """Return uint8 frames (F, H, W, 3) of one clip's pixels (3, F, H, W) in [-1, 1]."""
    levels = ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round()
    frames: Frames = levels.to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()
    return frames


def write(path: Path, frames: Frames, frames_per_second: int) -> None:
    """Encode frames as H.264 (MPEG-4 without an H.264 encoder); the file is written atomically."""
    import av

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished.next_to(path, ".mp4")
    try:
        with av.open(str(partial), "w", options={"movflags": "faststart"}) as container:
            stream: Any = container.add_stream(codec, rate=frames_per_second, options=dict(QUALITY[codec]))
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
