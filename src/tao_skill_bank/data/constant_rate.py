"""Writes a copy of a clip at a constant frame rate: each tick shows the newest frame of the original.

python -m tao_skill_bank.constant_rate IN.mp4 OUT.mp4 [--fps N]
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from tao_skill_bank.core import unfinished
from tao_skill_bank.data.media.clip_frames import Converter
from tao_skill_bank.data.media.clip_index import ClipIndex, opened, whole_clip_index
from tao_skill_bank.data.video_fps import refuse_overwriting
from tao_skill_bank.errors import BlockedError, TaoSkillsError

MAX_GAP_SECONDS = 60.0
MAX_DENOMINATOR = 1001  # of NTSC rates such as 30000/1001
QUALITY = {"libx264": {"crf": "12", "preset": "medium"}, "mpeg4": {"qscale": "1"}}


@dataclass(frozen=True)
class Copy:
    """The written file."""

    target: Path
    num_frames: int
    frames_per_second: float


def write_copy(source: Path, target: Path, frames_per_second: float | None = None) -> Copy:
    """Write `source` to `target` at a constant rate, that of its median frame interval by default.

    The copy holds what is shown: frames are upright, with square pixels. The source is only read; the target appears
    complete or not at all. Audio is dropped.

    Raises:
        ConflictError: the target exists, or is the source.
        BlockedError: the source cannot be decoded.
        MissingExtraError: PyAV is not installed.

    """
    refuse_overwriting(source, target)
    index = whole_clip_index(source)
    import av

    work = unfinished.next_to(target, ".mp4")
    try:
        rate = Fraction(frames_per_second or _usual_rate(index)).limit_denominator(MAX_DENOMINATOR)
        with opened(source) as (container, _):
            num_frames = _encode(container, work, rate, Converter(index.shape, "rgb24"))
        work.replace(target)
    except (av.FFmpegError, OSError, ValueError) as error:
        message = f"{source} cannot be copied to {target}: {error}."
        fix = "Give a clip that can be decoded and an existing folder."
        raise BlockedError.of("media_unreadable", message, fix, path=str(source)) from None
    finally:
        work.unlink(missing_ok=True)
    return Copy(target, num_frames, float(rate))


def _usual_rate(index: ClipIndex) -> Fraction:
    if len(index) < 2:
        raise ValueError("it has fewer than two frames")
    return 1 / Fraction(median(later - earlier for earlier, later in pairwise(index.ticks)) * index.tick_seconds)


def _encode(container: Any, target: Path, rate: Fraction, converter: Converter) -> int:
    import av

    codec = next(name for name in QUALITY if name in av.codecs_available)
    with av.open(str(target), "w") as output:
        stream = None
        num_frames = 0
        for frame in _at_rate(container, rate, converter):
            num_frames += 1
            if stream is None:
                stream = output.add_stream(codec, rate=rate, options=QUALITY[codec])
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            output.mux(stream.encode(frame))
        if stream is None:
            raise ValueError("none of its frames can be decoded")
        output.mux(stream.encode())
    return num_frames


def _at_rate(container: Any, rate: Fraction, converter: Converter) -> Iterator[Any]:
    """Yield the frame that is shown at each tick, with its new time; frames may repeat or be skipped."""
    shown, start, shown_at = None, 0.0, 0.0
    tick = 0
    half = 0.5 / float(rate)  # frames due within half an interval are shown early
    for frame in container.decode(video=0):
        time = float(frame.time or 0)
        if shown is None:
            start = time
        elif time - shown_at > MAX_GAP_SECONDS:
            raise ValueError(f"it has no frame between {shown_at:g} and {time:g} seconds")
        while shown is not None and start + tick / float(rate) + half < time:
            shown.pts, shown.time_base = tick, 1 / rate
            yield shown
            tick += 1
        shown, shown_at = _upright(frame, converter), time
    if shown is not None:
        shown.pts, shown.time_base = tick, 1 / rate
        yield shown


def _upright(frame: Any, converter: Converter) -> Any:
    """Return a frame as it is shown, in the encoder's format. Frames shown as stored are not converted twice."""
    import av

    if converter.is_plain:
        return frame.reformat(format="yuv420p")
    pixels = converter(frame)
    even = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]  # the format has half as many colours a side
    return av.VideoFrame.from_ndarray(even.copy(), format="rgb24").reformat(format="yuv420p")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--fps", type=float, help="frames per second of the copy")
    arguments = parser.parse_args()
    try:
        copy = write_copy(arguments.source, arguments.target, arguments.fps)
    except TaoSkillsError as error:
        sys.exit(f"error: {error} Fix: {error.problems[0].fix}")
    sys.stdout.write(f"{copy.target}: {copy.num_frames} frames at {copy.frames_per_second:g} frames per second\n")


if __name__ == "__main__":
    main()
