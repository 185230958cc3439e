"""A video question-answering dataset: which way does the ball move, left, right or straight?

The ball starts anywhere and wraps around the picture's edges, so that its position in any single frame is
uniform whatever the direction: only the motion tells the answer. It is lit from one side, so the brightness of
a fixed point changes with the direction of motion, which is what a small vision tower can learn quickly.

    python -m tao_skill_bank.samples.vlm OUT      writes OUT/{train,val,test}/annotations.json and videos/
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tao_skill_bank.errors import BlockedError, TaoSkillsError

LABELS = ("left", "right", "straight")
VELOCITY = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "straight": (0.0, -1.0)}  # pixels to the right and down
QUESTIONS = (
    "Which way does the ball move: left, right or straight? Answer with one word.",
    "Is the ball moving left, right or straight? Answer with one word.",
    "Left, right or straight: where does the ball go? Answer with one word.",
)
SIZE_PIXELS = 64
NUM_FRAMES = 8
FRAMES_PER_SECOND = 4
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Clip:
    """One generated clip: frames are uint8 of shape (frames, height, width, 3)."""

    frames: NDArray[np.uint8]
    question: str
    answer: str


def make(out_dir: Path, *, train: int = 600, val: int = 96, test: int = 96, seed: int = 0) -> Path:
    """Write the three splits and return `out_dir`. A finished folder of the same recipe is left as it is.

    Raises:
        BlockedError: the folder holds something else.

    """
    recipe = {"train": train, "val": val, "test": test, "seed": seed}
    marker = out_dir / "recipe.json"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == recipe:
        return out_dir
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", dir=out_dir.parent))
    try:
        for split, count in zip(SPLITS, (train, val, test), strict=True):
            _write_split(work / split, split, count, seed)
        (work / marker.name).write_text(json.dumps(recipe), encoding="utf-8")
        if out_dir.exists() and any(out_dir.iterdir()):
            message = f"{out_dir} exists and holds something else than this sample dataset."
            raise BlockedError.of("folder_in_use", message, "Give a new folder.", path=str(out_dir))
        shutil.rmtree(out_dir, ignore_errors=True)
        work.rename(out_dir)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out_dir


def clips(count: int, seed: int, split: str = "train") -> Iterator[Clip]:
    """Yield `count` clips, the three answers equally often, in an order drawn from `seed` and the split's name."""
    random = np.random.default_rng([seed, SPLITS.index(split)])
    answers = [LABELS[index % len(LABELS)] for index in range(count)]
    random.shuffle(answers)
    for answer in answers:
        question = QUESTIONS[int(random.integers(len(QUESTIONS)))]
        yield Clip(_render(answer, random), question, answer)


def write_video(path: Path, frames: NDArray[np.uint8], frames_per_second: int = FRAMES_PER_SECOND) -> None:
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


def _write_split(folder: Path, split: str, count: int, seed: int) -> None:
    (folder / "videos").mkdir(parents=True)
    records = []
    for index, clip in enumerate(clips(count, seed, split)):
        name = f"videos/{split}-{index:05d}.mp4"
        write_video(folder / name, clip.frames)
        records.append(_record(f"{split}-{index:05d}", name, clip))
    (folder / "annotations.json").write_text(json.dumps(records, indent=1), encoding="utf-8")


def _record(record_id: str, video: str, clip: Clip) -> dict[str, Any]:
    turns = [{"from": "human", "value": f"<video>\n{clip.question}"}, {"from": "gpt", "value": clip.answer}]
    return {"id": record_id, "video": video, "video_fps": FRAMES_PER_SECOND, "conversations": turns}


def _render(answer: str, random: np.random.Generator) -> NDArray[np.uint8]:
    start = random.uniform(0, SIZE_PIXELS, size=2)
    speed = random.uniform(4.0, 6.0)  # pixels per frame
    radius = random.uniform(14.0, 18.0)
    road = random.uniform(20.0, 60.0)
    tint = random.uniform(0.7, 1.0, size=3)
    rows, columns = np.mgrid[0:SIZE_PIXELS, 0:SIZE_PIXELS]
    frames = np.empty((NUM_FRAMES, SIZE_PIXELS, SIZE_PIXELS, 3), dtype=np.uint8)
    for index in range(NUM_FRAMES):
        x, y = start + speed * index * np.array(VELOCITY[answer])
        across, down = _wrapped(columns - x), _wrapped(rows - y)
        inside = np.clip(radius - np.hypot(across, down) + 0.5, 0, 1)  # 1 in the ball, soft at its edge
        light = 30 + 225 * np.clip((across + radius) / (2 * radius), 0, 1)
        ball = light[..., None] * tint
        frames[index] = (road + inside[..., None] * (ball - road)).astype(np.uint8)
    return frames


def _wrapped(offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shortest signed distance on a picture whose edges are joined."""
    return (offset + SIZE_PIXELS / 2) % SIZE_PIXELS - SIZE_PIXELS / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    try:
        sys.stdout.write(f"{make(parser.parse_args().out.absolute())}\n")
    except TaoSkillsError as error:
        sys.exit(f"error: {error} Fix: {error.problems[0].fix}")


if __name__ == "__main__":
    main()
