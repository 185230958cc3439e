"""A video question-answering dataset: which way does the ball move, left, right or straight?

The ball starts anywhere and wraps around the picture's edges, so that its position in any single frame is
independent of the direction: only the motion determines the answer. It is lit from one side, so the brightness of
a fixed point changes with the direction of motion, which is what a small vision tower can learn quickly.

    python -m tao_skill_bank.samples.vlm OUT      writes OUT/{train,val,test}/annotations.json and videos/
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tao_skill_bank.samples._folder import make_folder, run, write_video

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
MODEL = "builtin://tiny-cosmos-reason"
CLIP = {"height": SIZE_PIXELS, "width": SIZE_PIXELS, "frames": NUM_FRAMES, "fps": FRAMES_PER_SECOND}
TRY = ("tao-finetune-cosmos-reason", "--set", f"model_name_or_path={MODEL}")


@dataclass(frozen=True)
class Clip:
    """One generated clip: frames are uint8 of shape (frames, height, width, 3)."""

    frames: NDArray[np.uint8]
    question: str
    answer: str


def make(out_dir: Path, *, train: int = 600, val: int = 96, test: int = 96, seed: int = 0) -> Path:
    """Write the three splits and return `out_dir`. A finished folder of the same recipe is reused.

    Raises:
        BlockedError: the folder contains something else.

    """

    def write(folder: Path) -> None:
        for split, count in zip(SPLITS, (train, val, test), strict=True):
            _write_split(folder / split, split, count, seed)

    return make_folder(out_dir, {"train": train, "val": val, "test": test, "seed": seed}, write)


def clips(count: int, seed: int, split: str = "train") -> Iterator[Clip]:
    """Yield `count` clips, the three answers equally often, in an order drawn from `seed` and the split's name."""
    random = np.random.default_rng([seed, SPLITS.index(split)])
    answers = [LABELS[index % len(LABELS)] for index in range(count)]
    random.shuffle(answers)
    for answer in answers:
        question = QUESTIONS[int(random.integers(len(QUESTIONS)))]
        yield Clip(_render(answer, random), question, answer)


def _write_split(folder: Path, split: str, count: int, seed: int) -> None:
    (folder / "videos").mkdir(parents=True)
    records = []
    for index, clip in enumerate(clips(count, seed, split)):
        name = f"videos/{split}-{index:05d}.mp4"
        write_video(folder / name, clip.frames, FRAMES_PER_SECOND)
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


if __name__ == "__main__":
    run(make, __doc__)
