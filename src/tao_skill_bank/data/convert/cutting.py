"""Cuts a part out of a video file, frame by frame, at a constant rate."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from tao_skill_bank.data.constant_rate import MAX_DENOMINATOR, QUALITY
from tao_skill_bank.data.convert.values import Episode

MAX_PIXELS = 2**26
SEEK_MARGIN_SECONDS = 1.0


def cut(episode: Episode, target: Path) -> None:
    """Encode the frames of an episode; `target` gets exactly `num_frames` of them.

    Raises:
        ValueError: they cannot be decoded, are more or fewer than that, or do not lie at the rate's times.

    """
    import av

    try:
        with av.open(str(episode.video)) as container:
            if not container.streams.video:
                raise ValueError("it has no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            frames = _checked(_frames(container, episode), episode)
            _encode(frames, target, episode.rate, stream.sample_aspect_ratio)
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"it cannot be decoded: {error.strerror or error}") from None


def _frames(container: Any, episode: Episode) -> Iterator[Any]:
    """Yield the frames between the start and the end of an episode; all of them for a whole file."""
    stream = container.streams.video[0]
    if episode.start is None or episode.end is None:
        yield from container.decode(stream)
        return
    half = 0.5 / episode.rate  # times in tables are rounded
    frames = _decode_from(container, stream, episode.start, half)
    for frame in frames:
        time = _time(frame)
        if time >= episode.end - half:
            return
        if time >= episode.start - half:
            yield frame


def _decode_from(container: Any, stream: Any, start: float, half: float) -> Iterator[Any]:
    """Decode from a keyframe at or before the start; from the first one where seeking overshoots."""
    if start > SEEK_MARGIN_SECONDS:
        container.seek(int((start - SEEK_MARGIN_SECONDS) / stream.time_base), stream=stream)
        frames = container.decode(stream)
        first = next(frames, None)
        if first is not None and _time(first) <= start + half:
            yield first
            yield from frames
            return
        container.seek(0, stream=stream)
    yield from container.decode(stream)


def _checked(frames: Iterator[Any], episode: Episode) -> Iterator[Any]:
    """Yield the frames, each of which must lie within half an interval of its time."""
    count, start = 0, episode.start
    for frame in frames:
        time = _time(frame)
        start = time if start is None else start
        due = start + count / episode.rate
        count += 1
        if count > episode.num_frames:
            raise ValueError(f"it has more frames than the {episode.num_frames} that its table says{_where(episode)}")
        if abs(time - due) > 0.5 / episode.rate:
            place = f"frame {count - 1} lies at {time:.4g} s"
            raise ValueError(f"{place} where {due:.4g} s belongs at {episode.rate:g} frames per second")
        _check_picture(frame)
        yield frame
    if count != episode.num_frames:
        raise ValueError(f"it has {count} frames where its table says {episode.num_frames}{_where(episode)}")


def _where(episode: Episode) -> str:
    return "" if episode.start is None else f" between {episode.start:.6g} and {episode.end:.6g} seconds"


def _check_picture(frame: Any) -> None:
    if frame.width * frame.height > MAX_PIXELS:
        raise ValueError(f"its frames of {frame.width}x{frame.height} pixels are larger than {MAX_PIXELS:,} pixels")
    if frame.rotation:
        raise ValueError(f"it is shown rotated by {frame.rotation} degrees; store it upright")


def _time(frame: Any) -> float:
    if frame.pts is None:
        raise ValueError("it has frames without a time")
    return float(frame.pts * frame.time_base)


def _encode(frames: Iterator[Any], target: Path, rate: float, aspect: Fraction | None) -> None:
    import av

    codec = next(name for name in QUALITY if name in av.codecs_available)
    ticks = Fraction(rate).limit_denominator(MAX_DENOMINATOR)
    with av.open(str(target), "w") as output:
        stream: Any = None
        for position, frame in enumerate(frames):
            shown = frame.reformat(format="yuv444p" if frame.width % 2 or frame.height % 2 else "yuv420p")
            if stream is None:
                stream = output.add_stream(codec, rate=ticks, options=QUALITY[codec])
                _describe(stream, shown, aspect)
            shown.pts, shown.time_base, shown.pict_type = position, 1 / ticks, 0
            output.mux(stream.encode(shown))
        if stream is not None:
            output.mux(stream.encode())


def _describe(stream: Any, frame: Any, aspect: Fraction | None) -> None:
    """Give the stream the size, colours and pixel shape of the frames."""
    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
    context = stream.codec_context
    for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
        setattr(context, name, int(getattr(frame, name)))
    if aspect:
        context.sample_aspect_ratio = aspect
