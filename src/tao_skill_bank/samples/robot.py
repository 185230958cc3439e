"""A robot video dataset: a gripper picks up a coloured ball or box, carries it left or right and sets it down.

The scene never changes, and the path is always the same arc: a clip is determined by its first frame and its caption.
`slides` renders the same scene with other motions, straight lines in any direction, to pretrain a model that has yet
to learn how the object is carried.

    python -m tao_skill_bank.samples.robot OUT      writes OUT/{train,val}/{videos/,metas/,metadata.csv},
                                                    OUT/test/{NAME.txt,NAME.png} and OUT/reference/NAME.mp4
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tao_skill_bank.samples._folder import make_folder, run, write_video

HEIGHT, WIDTH = 48, 80  # pixels, multiples of 16
NUM_FRAMES = 25  # 4 k + 1; leaves room for random windows of 17
FRAMES_PER_SECOND = 16
COLOURS = {"red": (225, 45, 40), "green": (40, 190, 70), "blue": (50, 90, 235)}
SHAPES = ("ball", "box")
DIRECTIONS = {"left": -1, "right": 1}
CAPTIONS = (
    "The robot arm moves the {colour} {shape} to the {direction}.",
    "The gripper picks up the {colour} {shape}, carries it to the {direction}, and sets it down.",
    'The task is "put the {colour} {shape} on the {direction}", and the robot arm does it.',
)
SPLITS = ("train", "val", "test")
MODEL = "builtin://tiny-cosmos-predict"
CLIP = {"height": HEIGHT, "width": WIDTH, "frames": NUM_FRAMES, "fps": FRAMES_PER_SECOND}
TRY = (
    "tao-finetune-cosmos-predict",
    *("--set", f"model_name_or_path={MODEL}", "--set", "train.mixed_precision=no"),
    *("--set", f"dataset.height={HEIGHT}", "--set", f"dataset.width={WIDTH}", "--set", "dataset.num_frames=17"),
)

RADIUS = 8.0  # of the object
MARGIN = 13.0  # the object's centre stays this far from the edges
TABLE_Y = 35.0  # the centre's row while the object is on the table
CARRY = 28.0  # pixels from start to end
LIFT = 15.0  # pixels at the arc's top
SCENE_SEED = 2025

Path2D = NDArray[np.float64]  # the object's centre (x, y) in every frame


@dataclass(frozen=True)
class Clip:
    """One generated clip: frames are uint8 of shape (frames, height, width, 3)."""

    frames: NDArray[np.uint8]
    caption: str
    colour: str


def make(out_dir: Path, *, train: int = 48, val: int = 8, test: int = 8, seed: int = 0) -> Path:
    """Write the three splits and return `out_dir`. A finished folder of the same recipe is reused.

    Raises:
        BlockedError: the folder contains something else.

    """

    def write(folder: Path) -> None:
        _write_captioned(folder / "train", "train", clips(train, seed, "train"))
        _write_captioned(folder / "val", "val", clips(val, seed, "val"))
        _write_pairs(folder, clips(test, seed, "test"))

    return make_folder(out_dir, {"train": train, "val": val, "test": test, "seed": seed}, write)


def clips(count: int, seed: int, split: str = "train") -> Iterator[Clip]:
    """Yield `count` clips of the carrying arc, in an order drawn from `seed` and the split's name."""
    random = np.random.default_rng([seed, SPLITS.index(split)])
    for index in range(count):
        direction = list(DIRECTIONS)[index % 2]
        yield _clip(random, direction, _arc(random, direction))


def slides(count: int, seed: int) -> Iterator[Clip]:
    """Yield `count` clips in which the object moves along a straight line in any direction, at any speed."""
    random = np.random.default_rng([seed, len(SPLITS)])
    for _ in range(count):
        start, end = random.uniform((MARGIN, MARGIN), (WIDTH - MARGIN, HEIGHT - MARGIN), (2, 2))
        direction = "right" if end[0] > start[0] else "left"
        yield _clip(random, direction, np.linspace(start, end, NUM_FRAMES))


def _arc(random: np.random.Generator, direction: str) -> Path2D:
    """From the table, up, along and down to it again."""
    time = np.linspace(0, 1, NUM_FRAMES)
    leftmost = random.uniform(MARGIN, WIDTH - MARGIN - CARRY)
    start = leftmost if direction == "right" else leftmost + CARRY
    return np.stack([start + DIRECTIONS[direction] * CARRY * time, TABLE_Y - LIFT * np.sin(np.pi * time)], axis=1)


def _clip(random: np.random.Generator, direction: str, path: Path2D) -> Clip:
    colour = list(COLOURS)[int(random.integers(len(COLOURS)))]
    shape = SHAPES[int(random.integers(len(SHAPES)))]
    caption = CAPTIONS[int(random.integers(len(CAPTIONS)))].format(colour=colour, shape=shape, direction=direction)
    frames = np.stack([_render(shape, COLOURS[colour], centre) for centre in path])
    return Clip(frames.astype(np.uint8), caption, colour)


def _render(shape: str, colour: tuple[int, int, int], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw the scene, the arm that comes from above, the object and two fingers around it."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    across, down = columns - centre[0], rows - centre[1]
    picture = _scene().copy()
    above = _inside(down + RADIUS + 2)  # 1 above the gripper
    _paint(picture, _inside(np.abs(across) - 3) * above, (150, 150, 155))
    hand = np.maximum(np.abs(across) - RADIUS - 3, np.abs(down + RADIUS - 1) - 3)
    _paint(picture, _inside(hand), (70, 70, 78))
    distance = np.hypot(across, down) - RADIUS if shape == "ball" else np.maximum(abs(across), abs(down)) - RADIUS + 1
    _paint(picture, _inside(distance), colour)
    fingers = np.maximum(np.abs(np.abs(across) - RADIUS - 1.5) - 1.5, np.abs(down) - RADIUS + 2)
    _paint(picture, _inside(fingers), (70, 70, 78))
    return picture


def _inside(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where a signed distance is negative, 0 where it is positive, soft over one pixel."""
    return np.clip(0.5 - distance, 0, 1)


def _paint(picture: NDArray[np.float64], mask: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    picture += mask[..., None] * (np.array(colour) - picture)


@cache
def _scene() -> NDArray[np.float64]:
    """Return the wall and the table, with marks for feature detectors; grey, so that only the object is vivid."""
    random = np.random.default_rng(SCENE_SEED)
    picture = np.full((HEIGHT, WIDTH, 3), 96.0)
    picture[HEIGHT // 3 :] = (126, 118, 108)
    for _ in range(24):
        x, y = int(random.integers(WIDTH)), int(random.integers(HEIGHT))
        width, height = (int(size) for size in random.integers(5, 14, 2))
        picture[y : y + height, x : x + width] += random.uniform(-24, 24)
    return picture


def _write_captioned(folder: Path, split: str, made: Iterator[Clip]) -> None:
    for name in ("videos", "metas"):
        (folder / name).mkdir(parents=True)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("file_name", "prompt"))
        for index, clip in enumerate(made):
            name = f"{split}-{index:05d}"
            write_video(folder / "videos" / f"{name}.mp4", clip.frames, FRAMES_PER_SECOND)
            (folder / "metas" / f"{name}.txt").write_text(clip.caption, encoding="utf-8")
            table.writerow((f"videos/{name}.mp4", clip.caption))


def _write_pairs(folder: Path, made: Iterator[Clip]) -> None:
    """Write prompts with first frames, and the source clips as a reference."""
    from PIL import Image

    for name in ("test", "reference"):
        (folder / name).mkdir()
    for index, clip in enumerate(made):
        name = f"test-{index:05d}"
        (folder / "test" / f"{name}.txt").write_text(clip.caption, encoding="utf-8")
        Image.fromarray(clip.frames[0]).save(folder / "test" / f"{name}.png")
        write_video(folder / "reference" / f"{name}.mp4", clip.frames, FRAMES_PER_SECOND)


if __name__ == "__main__":
    run(make, __doc__)
