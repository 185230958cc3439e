"""Decodes a media file in a child process, so that a broken one can neither hang nor crash the caller.

`python -m tao_skill_bank.data.media_probe SECONDS FILE...` prints a JSON object per file: the fields of `MediaProbe`,
or {"error"}. At most SECONDS are spent on decoding each.
"""

import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from tao_skill_bank.errors import BlockedError, MissingExtraError

WHOLE_SHARE = 0.98  # container headers are sometimes off by a frame
UNEVEN_INTERVAL_SHARE = 0.25  # an interval this far from the median counts as uneven
UNEVEN_RECORDS_SHARE = 0.01  # a clip with more uneven intervals than this has a variable frame rate


@dataclass(frozen=True)
class MediaProbe:
    """The content of a container and what could be decoded.

    Attributes:
        num_frames: displayed frames, counted by reading all packets of the container; 1 for an image.
        declared_frames: number of frames in the container's header; 0 if not given.
        decoded_frames: frames decoded before time ran out; all of them for ordinary clips.
        container_fps: average rate; 0 for an image.
        reached_end: decoding reached the end of the file in time, so frames that were not decoded are broken.

    """

    width: int
    height: int
    num_frames: int
    declared_frames: int
    decoded_frames: int
    duration_seconds: float
    container_fps: float
    has_variable_rate: bool
    reached_end: bool = True

    @property
    def is_whole(self) -> bool:
        """Return whether all declared frames exist and, as far as tried, can be decoded."""
        least = WHOLE_SHARE * self.num_frames
        return self.num_frames >= WHOLE_SHARE * self.declared_frames and (
            not self.reached_end or self.decoded_frames >= least
        )


def require_decoder() -> None:
    """Raise MissingExtraError unless PyAV is installed."""
    if find_spec("av") is None:
        raise MissingExtraError.for_module("av", "train")


def probe_in_children(
    paths: Sequence[Path], timeout_seconds: float, decode_seconds: float | None = None
) -> dict[Path, MediaProbe | BlockedError]:
    """Probe files one by one in a child process; after a file that hangs or crashes it, a new child continues.

    Args:
        paths: the files.
        timeout_seconds: time limit per file.
        decode_seconds: part of it for decoding; half by default.

    Returns:
        The probe of every file, or why it cannot be decoded: unreadable, no frames, or a hang.

    Raises:
        MissingExtraError: PyAV is not installed.

    """
    require_decoder()
    budget = str(timeout_seconds / 2 if decode_seconds is None else min(decode_seconds, timeout_seconds / 2))
    found: dict[Path, MediaProbe | BlockedError] = {}
    while left := [path for path in paths if path not in found]:
        command = [sys.executable, "-m", "tao_skill_bank.data.media_probe", budget, *map(str, left)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            for path in left:
                line = _next_line(child, timeout_seconds)
                found[path] = _outcome(path, line, child, timeout_seconds)
                if not line:
                    break
            child.kill()
    return found


def _next_line(child: "subprocess.Popen[bytes]", timeout_seconds: float) -> bytes | None:
    """Return the child's next line; empty when it died, None when it hangs. The child writes complete lines."""
    assert child.stdout
    is_ready = select.select([child.stdout], [], [], timeout_seconds)[0]
    return child.stdout.readline() if is_ready else None


def _outcome(
    path: Path, line: bytes | None, child: "subprocess.Popen[bytes]", timeout_seconds: float
) -> MediaProbe | BlockedError:
    if line is None:
        return _broken("media_hangs", path, f"decoding did not return within {timeout_seconds:g} seconds")
    if not line:
        return _broken("media_unreadable", path, f"the decoder died with exit code {child.wait()}")
    answer = json.loads(line)
    if "error" in answer:
        return _broken("media_unreadable", path, answer["error"])
    probed = MediaProbe(**answer)
    return probed if probed.decoded_frames else _broken("media_without_frames", path, "no frame of it can be decoded")


def probe(path: Path, decode_seconds: float) -> MediaProbe:
    """Read every packet of a file and decode frames for at most `decode_seconds`, in this process."""
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("it holds no video stream")
        stream = container.streams.video[0]
        times = _packet_times(container, stream)
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        declared = stream.frames
        width, height = stream.codec_context.width, stream.codec_context.height
    decoded, reached_end = _count_decoded(path, decode_seconds)
    return MediaProbe(
        width=width,
        height=height,
        num_frames=len(times),
        declared_frames=declared,
        decoded_frames=decoded,
        duration_seconds=len(times) / fps if fps else 0.0,
        container_fps=fps,
        has_variable_rate=_is_uneven(times),
        reached_end=reached_end,
    )


def container_rate(path: Path) -> float:
    """Return the average frame rate of a container. Raises BlockedError when it has none."""
    require_decoder()
    import av

    try:
        with av.open(str(path)) as container:
            streams = container.streams.video
            rate = float(streams[0].average_rate or 0) if streams else 0.0
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _broken("media_unreadable", path, _reason(error)) from None
    if rate <= 0:
        raise _broken("media_without_rate", path, "its container has no frame rate")
    return rate


def _packet_times(container: Any, stream: Any) -> list[float]:
    base = float(stream.time_base or 1)
    times = [
        float(packet.pts or 0) * base for packet in container.demux(stream) if packet.size and not packet.is_discard
    ]
    return sorted(times)


def _count_decoded(path: Path, decode_seconds: float) -> tuple[int, bool]:
    """Return how many frames were decoded in time, and whether these are all decodable frames."""
    import av

    end = time.monotonic() + decode_seconds
    count = 0
    with av.open(str(path)) as container:
        for _ in container.decode(video=0):
            count += 1
            if time.monotonic() > end:
                return count, False
    return count, True


def _is_uneven(times: Sequence[float]) -> bool:
    intervals = [later - earlier for earlier, later in itertools.pairwise(times)]
    if len(intervals) < 2:
        return False
    usual = median(intervals)
    uneven = sum(abs(interval - usual) > UNEVEN_INTERVAL_SHARE * usual for interval in intervals[:-1])
    return uneven > max(1, UNEVEN_RECORDS_SHARE * len(intervals))


def _broken(code: str, path: Path, reason: str) -> BlockedError:
    message = f"Media file {path} cannot be used: {reason}."
    return BlockedError.of(code, message, "Replace or re-encode the file, or drop its records.", path=str(path))


def _reason(error: Exception) -> str:
    """Return why a file cannot be read, without its path and the number of the error."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())


def answer(path: Path, decode_seconds: float) -> str:
    """Return the probe of a file as JSON, or the error."""
    try:
        return json.dumps(asdict(probe(path, decode_seconds)))
    except (OSError, ValueError, ArithmeticError) as error:  # PyAV's errors are OSErrors or ValueErrors
        return json.dumps({"error": _reason(error)})


def main(arguments: Sequence[str]) -> None:
    """Probe the files that the arguments name, one line each."""
    decode_seconds, *paths = arguments
    for path in paths:
        os.write(sys.stdout.fileno(), f"{answer(Path(path), float(decode_seconds))}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
