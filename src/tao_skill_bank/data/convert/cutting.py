"""Cuts a part out of a video file, frame by frame, at a constant rate."""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from tao_skill_bank.data.constant_rate import MAX_DENOMINATOR, QUALITY
from tao_skill_bank.data.convert.values import Episode
from tao_skill_bank.data.media import clip_frames
from tao_skill_bank.data.media.clip_index import whole_clip_index


def frames_of(episode: Episode) -> range:
    """Return the positions of an episode's frames in its video, without decoding them.

    Raises:
        ValueError: they are more or fewer than its table says, or do not lie at the times of its rate.
        BlockedError: the video cannot be used.

    """
    index = whole_clip_index(episode.video)
    if not index.is_timed:
        raise ValueError("its frames have no times")
    times = [float(tick * index.tick_seconds) for tick in index.ticks]
    half = 0.5 / episode.rate  # times in tables are rounded
    first, last = 0, len(times)
    if episode.start is not None and episode.end is not None:
        first, last = (bisect_left(times, seconds - half) for seconds in (episode.start, episode.end))
    if last - first != episode.num_frames:
        where = "" if episode.start is None else f" between {episode.start:.6g} and {episode.end:.6g} seconds"
        raise ValueError(f"it has {last - first} frames{where} where its table says {episode.num_frames}")
    start = times[first] if episode.start is None else episode.start
    _check_times(times[first:last], start, episode.rate)
    return range(first, last)


def _check_times(times: Sequence[float], start: float, rate: float) -> None:
    for position, time in enumerate(times):
        due = start + position / rate
        if abs(time - due) > 0.5 / rate:
            place = f"frame {position} lies at {time:.4g} s"
            raise ValueError(f"{place} where {due:.4g} s belongs at {rate:g} frames per second")


def cut(episode: Episode, frames: range, target: Path) -> None:
    """Encode some frames of an episode's video as a player shows them, one after the other.

    Raises:
        ValueError: the file cannot be written, or has other frames than the video.
        BlockedError: frames cannot be decoded.

    """
    import av

    codec = next(name for name in QUALITY if name in av.codecs_available)
    ticks = Fraction(episode.rate).limit_denominator(MAX_DENOMINATOR)
    count = 0
    with av.open(str(target), "w") as output:
        stream: Any = None
        for _, pixels in clip_frames.iterate(episode.video, frames, seek=True):
            height, width = pixels.shape[:2]
            if stream is None:
                stream = output.add_stream(codec, rate=ticks, options=QUALITY[codec])
                stream.width, stream.height = width, height
                stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"  # odd sizes cannot be halved
            shown = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=stream.pix_fmt)
            shown.pts, shown.time_base = count, 1 / ticks
            output.mux(stream.encode(shown))
            count += 1
        output.mux(stream.encode())
    if count != len(frames) or len(whole_clip_index(target)) != count:
        raise ValueError(f"{count} of its {len(frames)} frames were written")
