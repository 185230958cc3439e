"""The look at the header of every clip before a launch, against a plain loop over `av.open`, in the same run.

    python benchmarks/media_headers.py [--clips 10000] [--rounds 3] [--folder DIR]

The clips are hard links, under different names, to 200 that are encoded here, with noise and motion: H.264 without a
stated pixel aspect (as OpenCV, PyAV and most cameras write them), H.264 with one (as the ffmpeg command writes them),
and MPEG-4. The first look finds no cache; the second finds all headers in it.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tao_skill_bank.data import header_cache, headers
from tao_skill_bank.data.headers import Budget, Look, MediaFile

NUM_ENCODED = 200
SIZE, NUM_FRAMES = (640, 360), 24
VARIANTS = {
    "H.264, no pixel aspect": ("libx264", None),
    "H.264, pixel aspect stated": ("libx264", Fraction(1)),
    "MPEG-4": ("mpeg4", None),
}


def generate(folder: Path, number: int, codec: str, aspect: Fraction | None) -> list[MediaFile]:
    """Encode some clips and link each of them to several names."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    files: list[MediaFile] = []
    for index in range(min(NUM_ENCODED, number)):
        source = folder / f"source_{index}.mp4"
        write_clip(source, codec, aspect, generator)
        for copy in range(index, number, NUM_ENCODED):
            target = folder / f"{copy:06d}.mp4"
            os.link(source, target)
            files.append(MediaFile("video", str(target)))
    return files


def write_clip(path: Path, codec: str, aspect: Fraction | None, generator: np.random.Generator) -> None:
    width, height = SIZE
    scene = generator.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"preset": "ultrafast"} if codec == "libx264" else {})
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for index in range(NUM_FRAMES):
            frame = av.VideoFrame.from_ndarray(np.roll(scene, 3 * index, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def plain(files: list[MediaFile]) -> None:
    """Open every clip, as most loaders do to know its size, rate and number of frames."""
    for file in files:
        with av.open(file.path) as container:
            stream = container.streams.video[0]
            assert all((stream.codec_context.width, stream.average_rate, stream.frames))


def look(files: list[MediaFile]) -> Look:
    with ThreadPoolExecutor(headers.MAX_CHILDREN) as pool:
        found = headers.look(files, pool, Budget())
    assert len(found.headers) == len(files), found.num_left
    return found


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the clips are made; a temporary folder by default")
    flags = parser.parse_args()
    print(
        f"{flags.clips} clips of {SIZE[0]}x{SIZE[1]}, {os.cpu_count()} cores, median of {flags.rounds} rounds, seconds"
    )
    print(f"{'':30}{'av.open':>10}{'first look':>12}{'second look':>13}")
    with tempfile.TemporaryDirectory(dir=flags.folder) as name:
        os.environ["TAO_STATE_DIR"] = f"{name}/state"
        for number, (variant, how) in enumerate(VARIANTS.items()):
            files = generate(Path(name, str(number)), flags.clips, *how)
            rounds = []
            for _ in range(flags.rounds):
                shutil.rmtree(header_cache.folder(), ignore_errors=True)
                rounds.append([seconds(lambda: work(files)) for work in (plain, look, look)])  # noqa: B023 - at once
            opened, first, second = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"{variant:30}{opened:10.1f}{first:12.1f}{second:13.2f}", flush=True)


if __name__ == "__main__":
    main()
