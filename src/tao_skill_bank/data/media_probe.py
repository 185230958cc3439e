"""Decodes a media file in a child process, so that a broken one can neither hang nor crash the caller.

`python -m tao_skill_bank.data.media_probe SECONDS KIND FILE...` prints a JSON object per file, a video or an image:
the fields of `MediaProbe`, or {"problem"}. At most SECONDS are spent on decoding each.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tao_skill_bank.data.child_lines import ChildLines
from tao_skill_bank.data.media import clip_index, picture
from tao_skill_bank.data.media.clip_index import require_decoder
from tao_skill_bank.data.media.content import MediaKind
from tao_skill_bank.data.media.header import Header, read_header
from tao_skill_bank.data.media.refusals import reason_of, refused
from tao_skill_bank.errors import BlockedError, Problem

__all__ = ["MediaProbe", "container_rate", "probe", "probe_header", "probe_in_children", "require_decoder"]


@dataclass(frozen=True)
class MediaProbe:
    """The content of a container and what could be decoded.

    Attributes:
        width, height: pixels as shown: upright, with square pixels.
        num_frames: displayed frames, counted by reading all packets of the container; 1 for an image.
        declared_frames: number of frames in the container's header; 0 if not given.
        decoded_frames: frames decoded before time ran out; all of them for ordinary clips.
        container_fps: average rate; 0 for an image. Measured where the rate varies.
        reached_end: decoding reached the end of the file in time, so frames that were not decoded are broken.
        frame_seconds: when each frame is shown, of a clip whose rate varies.
        is_animated: an image with more frames than the first, which is the one that is shown.

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
    frame_seconds: tuple[float, ...] = ()
    is_animated: bool = False

    @property
    def is_whole(self) -> bool:
        """Return whether all declared frames exist and, as far as tried, can be decoded."""
        is_complete = clip_index.is_enough(self.num_frames, self.declared_frames)
        return is_complete and (not self.reached_end or clip_index.is_enough(self.decoded_frames, self.num_frames))


def of_header(header: Header) -> MediaProbe:
    """Return what a header says as a probe that decoded nothing; a varying rate is its mean."""
    return MediaProbe(
        width=header.width,
        height=header.height,
        num_frames=header.num_present,
        declared_frames=header.num_frames,
        decoded_frames=0,
        duration_seconds=header.duration_seconds,
        container_fps=header.rate,
        has_variable_rate=header.is_variable,
        reached_end=False,
        is_animated=header.is_animated,
    )


def probe_in_children(
    paths: Sequence[Path], timeout_seconds: float, decode_seconds: float | None = None, kind: MediaKind = "video"
) -> dict[Path, MediaProbe | BlockedError]:
    """Probe files one by one in a child process; after a file that hangs or crashes it, a new child continues.

    Args:
        paths: the files.
        timeout_seconds: time limit per file.
        decode_seconds: part of it for decoding; half by default.
        kind: what the files are read as.

    Returns:
        The probe of every file, or why it cannot be decoded: unreadable, no frames, or a hang.

    Raises:
        MissingExtraError: PyAV, or Pillow for images, is not installed.

    """
    require_decoder()
    if kind == "image":
        picture.require_pillow()
    budget = str(timeout_seconds / 2 if decode_seconds is None else min(decode_seconds, timeout_seconds / 2))
    found: dict[Path, MediaProbe | BlockedError] = {}
    while left := [path for path in paths if path not in found]:
        command = [sys.executable, "-P", "-m", "tao_skill_bank.data.media_probe", budget, kind, *map(str, left)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            lines = ChildLines(child)
            for path in left:
                line = lines.next(timeout_seconds)
                found[path] = _outcome(path, line, child, timeout_seconds)
                if not line:
                    break
            child.kill()
    return found


def _outcome(
    path: Path, line: bytes | None, child: "subprocess.Popen[bytes]", timeout_seconds: float
) -> MediaProbe | BlockedError:
    if line is None:
        return refused(path, f"decoding did not return within {timeout_seconds:g} seconds", code="media_hangs")
    if not line:
        return refused(path, f"the decoder died with exit code {child.wait()}")
    answered = json.loads(line)
    if "problem" in answered:
        return BlockedError([Problem(**answered["problem"])])
    probed = MediaProbe(**{**answered, "frame_seconds": tuple(answered["frame_seconds"])})
    if not probed.decoded_frames:
        return refused(path, "no frame of it can be decoded", code="media_without_frames")
    return probed


def probe(path: Path, decode_seconds: float, kind: MediaKind = "video") -> MediaProbe:
    """Read every packet of a file and decode frames for at most `decode_seconds`, in this process.

    Raises:
        BlockedError: the file cannot be read as this kind.
        MissingExtraError: a decoder is not installed.

    """
    if kind == "image":
        is_animated = read_header(path, kind).is_animated
        height, width, _ = picture.read(path).shape
        return MediaProbe(width, height, 1, 1, 1, 0.0, 0.0, has_variable_rate=False, is_animated=is_animated)
    index = clip_index.clip_index(path)
    decoded, reached_end = _count_decoded(path, decode_seconds)
    return MediaProbe(
        width=index.width,
        height=index.height,
        num_frames=len(index),
        declared_frames=index.declared_frames,
        decoded_frames=decoded,
        duration_seconds=len(index) / index.rate if index.rate else 0.0,
        container_fps=index.rate,
        has_variable_rate=index.has_variable_rate,
        reached_end=reached_end,
        frame_seconds=index.seconds if index.has_variable_rate else (),
    )


def probe_header(path: Path, kind: MediaKind) -> MediaProbe:
    """Return what a file's header says, without decoding. Raises like `read_header`.

    The packets of a clip are read only where its header shows that its rate varies.
    """
    header = read_header(path, kind)
    frames, seconds, rate = header.num_frames, header.duration_seconds, header.rate
    times: tuple[float, ...] = ()
    if header.is_variable:
        index = clip_index.clip_index(path)
        frames, times, rate = len(index), index.seconds, index.rate
    size = (header.width, header.height)
    return MediaProbe(*size, frames, frames, 0, seconds, rate, header.is_variable, frame_seconds=times)


def container_rate(path: Path) -> float:
    """Return the average frame rate of a container. Raises BlockedError when it has none."""
    rate = read_header(path, "video").rate
    if rate <= 0:
        raise refused(path, "its container has no frame rate", code="media_without_rate")
    return rate


def _count_decoded(path: Path, decode_seconds: float) -> tuple[int, bool]:
    """Return how many frames were decoded in time, and whether these are all decodable frames."""
    end = time.monotonic() + decode_seconds
    count = 0
    with clip_index.opened(path) as (container, stream):
        for _ in container.decode(stream):
            count += 1
            if time.monotonic() > end:
                return count, False
    return count, True


def answer(path: Path, kind: MediaKind, decode_seconds: float) -> str:
    """Return the probe of a file as JSON, or the problem."""
    try:
        return json.dumps(asdict(probe(path, decode_seconds, kind)))
    except BlockedError as error:
        return json.dumps({"problem": error.problems[0].to_json()})
    except MemoryError as error:
        return json.dumps({"problem": refused(path, reason_of(error)).problems[0].to_json()})


def main(arguments: Sequence[str]) -> None:
    """Probe the files that the arguments name, one line each."""
    decode_seconds, kind, *paths = arguments
    for path in paths:
        line = answer(Path(path), "image" if kind == "image" else "video", float(decode_seconds))
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
