"""A sample dataset's folder and its files: created atomically, reused when it exists."""

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tao_skill_bank.core import unfinished
from tao_skill_bank.errors import BlockedError, TaoSkillsError

MARKER = "recipe.json"


def make_folder(out_dir: Path, recipe: dict[str, int], write: Callable[[Path], None]) -> Path:
    """Let `write` fill a new folder, make it `out_dir` and return it. A finished folder of the same recipe is reused.

    Raises:
        BlockedError: the folder contains something else.

    """
    marker = out_dir / MARKER
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == recipe:
        return out_dir
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    work = unfinished.next_to(out_dir)
    work.mkdir()
    try:
        write(work)
        (work / MARKER).write_text(json.dumps(recipe), encoding="utf-8")
        if out_dir.exists() and any(out_dir.iterdir()):
            message = f"{out_dir} exists and is not this sample dataset."
            raise BlockedError.of("folder_in_use", message, "Give a new folder.", path=str(out_dir))
        shutil.rmtree(out_dir, ignore_errors=True)
        work.rename(out_dir)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out_dir


def write_video(path: Path, frames: NDArray[np.uint8], frames_per_second: int = 4) -> None:
    """Encode uint8 frames of shape (frames, height, width, 3) as an H.264 (else MPEG-4) mp4 file."""
    import av

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    options = {"crf": "16", "preset": "ultrafast", "threads": "1"} if codec == "libx264" else {"qscale": "2"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=frames_per_second, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def run(make_dataset: Callable[[Path], Path], description: str | None) -> None:
    """Run the command line of a sample: one argument, the folder to create."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    try:
        sys.stdout.write(f"{make_dataset(parser.parse_args().out.absolute())}\n")
    except TaoSkillsError as error:
        sys.exit(f"error: {error} Fix: {error.problems[0].fix}")
