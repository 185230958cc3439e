"""Finds clips and pictures that show what another one shows, although their bytes differ: encoded again, or resized.

A few frames of each clip, at equal shares of its duration, get a perceptual hash: the signs of their lowest frequencies
(pHash: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010). Frames of a fixed camera are
alike in most of these bits, so frames of similar hashes are compared once more by a small picture of each.
A part of a clip, a crop and a mirrored copy are not found.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_skill_bank.data.media import clip_frames, content, picture
from tao_skill_bank.data.media.clip_index import clip_index
from tao_skill_bank.errors import BlockedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FRAMES_PER_CLIP = 6
SHARE_OF_FRAMES = 0.5  # of a clip's frames that another one has
MOST_BITS = 14  # of 63 that differ
MOST_DIFFERENCE = 36  # of 255, of any cell of a small picture
MEAN_DIFFERENCE = 6  # of 255
HASH_SIDE, CELLS = 32, 16  # pixels of the picture that is hashed, cells of the small one
LEAST_CONTRAST = 4.0  # standard deviation of brightness; a darker or emptier frame says nothing


@dataclass(frozen=True)
class Fingerprint:
    """What a medium looks like.

    Attributes:
        hashes: of its frames, uint64 of shape (frames,); frames without contrast are left out.
        pictures: of the same frames, int16 of shape (frames, CELLS, CELLS, 3).
        width, height: pixels as shown.
        rate: frames per second; 0 for a picture.

    """

    hashes: "NDArray[np.uint64]"
    pictures: "NDArray[np.int16]"
    width: int
    height: int
    rate: float = 0.0


def fingerprints(paths: Sequence[str], pool: Executor) -> dict[str, Fingerprint | BlockedError]:
    """Return what each file looks like, or why it cannot be read. Raises MissingExtraError without PyAV or Pillow."""
    return dict(zip(paths, pool.map(_fingerprint_or_error, paths), strict=True))


def copies(ours: Mapping[str, Fingerprint], theirs: Mapping[str, Fingerprint]) -> dict[str, str]:
    """Return which of our files show what one of theirs shows: our path -> the path of theirs."""
    return dict(_pairs(ours, theirs))


def fingerprint(path: Path) -> Fingerprint:
    """Return what a clip or picture looks like. Raises BlockedError where it cannot be read."""
    if content.is_picture(path):
        pixels = picture.read(path)
        return _of_frames([pixels], pixels.shape[1], pixels.shape[0], 0.0)
    index = clip_index(path)
    count = min(FRAMES_PER_CLIP, len(index))
    wanted = [int((number + 0.5) * len(index) / count) for number in range(count)]
    frames = [frame for _, frame in clip_frames.iterate(path, wanted)]
    return _of_frames(frames, index.width, index.height, index.rate)


def _fingerprint_or_error(path: str) -> Fingerprint | BlockedError:
    try:
        content.require_media(Path(path), "video")
        return fingerprint(Path(path))
    except BlockedError as error:
        return error


def _of_frames(frames: Sequence[Any], width: int, height: int, rate: float) -> Fingerprint:
    import numpy as np
    from PIL import Image

    hashes, pictures = [], []
    for frame in frames:
        small = Image.fromarray(frame).resize((HASH_SIDE, HASH_SIDE), Image.Resampling.BOX)
        grey = np.asarray(small.convert("L"), np.float64)
        if grey.std() >= LEAST_CONTRAST:
            hashes.append(_hash(grey))
            pictures.append(np.asarray(small.resize((CELLS, CELLS), Image.Resampling.BOX), np.int16))
    shape = (len(pictures), CELLS, CELLS, 3)
    return Fingerprint(np.array(hashes, np.uint64), np.array(pictures, np.int16).reshape(shape), width, height, rate)


def _hash(grey: "NDArray[np.float64]") -> int:
    import numpy as np
    from scipy.fft import dctn

    lowest = dctn(grey, norm="ortho")[:8, :8].ravel()[1:]  # without the mean brightness
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")


def _pairs(ours: Mapping[str, Fingerprint], theirs: Mapping[str, Fingerprint]) -> Iterator[tuple[str, str]]:
    import numpy as np

    names = [name for name, each in theirs.items() if len(each.hashes)]
    if not names:
        return
    hashes = np.concatenate([theirs[name].hashes for name in names])
    pictures = np.concatenate([theirs[name].pictures for name in names])
    owners = np.repeat(np.arange(len(names)), [len(theirs[name].hashes) for name in names])
    for name, each in ours.items():
        counts: NDArray[np.int64] = np.zeros(len(names), np.int64)
        for value, shown in zip(each.hashes, each.pictures, strict=True):
            alike = np.flatnonzero(np.bitwise_count(hashes ^ value) <= MOST_BITS)
            alike = alike[_is_same(shown, pictures[alike])]
            counts[np.unique(owners[alike])] += 1
        if len(each.hashes) and counts.max() >= SHARE_OF_FRAMES * len(each.hashes):
            yield name, names[int(counts.argmax())]


def _is_same(shown: "NDArray[np.int16]", others: "NDArray[np.int16]") -> "NDArray[np.bool_]":
    import numpy as np

    differences = (others - shown).reshape(len(others), 3 * CELLS * CELLS)
    brighter = differences.mean(axis=1)
    differences = np.abs(differences - brighter[:, None])
    is_alike = (differences.max(axis=1, initial=0) <= MOST_DIFFERENCE) & (differences.mean(axis=1) <= MEAN_DIFFERENCE)
    is_same: NDArray[np.bool_] = is_alike & (np.abs(brighter) <= MOST_DIFFERENCE)
    return is_same
