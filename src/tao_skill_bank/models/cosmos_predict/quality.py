"""Measures the quality of the embedded pipeline's videos: reconstruction PSNR, and the moving object's position.

Made for the robot sample data, whose object is the only vivid thing in a grey scene.

    python -m tao_skill_bank.models.cosmos_predict.quality PIPELINE GENERATED DATA      prints one JSON document
"""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tao_skill_bank.data.media import clip_frames
from tao_skill_bank.data.media.clip_index import whole_clip_index

VIVID = 70.0  # difference between a pixel's largest and smallest channel, of 255; the scene stays below 30
FEWEST_PIXELS = 20  # with fewer vivid pixels the object counts as lost; a complete one has about 200

Frames = NDArray[np.uint8]  # (frames, height, width, 3)


@dataclass(frozen=True)
class CentroidError:
    """The distance of the object from its expected position.

    Attributes:
        pixels: mean distance over the frames that show it; None if there are none.
        found: share of the frames that show it.

    """

    pixels: float | None
    found: float


@torch.no_grad()
def reconstruction_psnr(vae: Any, videos: Tensor) -> float:
    """Return the mean peak signal-to-noise ratio in dB of decoded latents against videos (N, 3, T, H, W) in [-1, 1]."""
    ratios = []
    for video in videos:
        decoded = vae.decode(vae.encode(video[None]).latent_dist.mode()).sample[0]
        ratios.append(-10 * ((decoded - video) / 2).square().mean().log10().item())
    return float(np.mean(ratios))


def centroids(frames: Frames) -> NDArray[np.float64]:
    """Return the object's centre (x, y) in every frame, NaN where it is not visible."""
    vivid = np.clip(np.ptp(frames.astype(np.float64), axis=-1) - VIVID, 0, None)
    rows, columns = np.mgrid[0 : frames.shape[1], 0 : frames.shape[2]]
    centres = np.full((len(frames), 2), np.nan)
    for index, weight in enumerate(vivid):
        if (weight > 0).sum() >= FEWEST_PIXELS:
            centres[index] = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
    return centres


def centroid_error(pairs: Iterable[tuple[Frames, Frames]]) -> CentroidError:
    """Compare generated clips with their reference clips, over their common frames.

    Args:
        pairs: (generated, reference) frames of the same height and width; at least one.

    """
    distances = []
    for generated, reference in pairs:
        shared = min(len(generated), len(reference))
        apart = centroids(generated[:shared]) - centroids(reference[:shared])
        distances.append(np.hypot(apart[:, 0], apart[:, 1]))
    every = np.concatenate(distances)
    seen = every[~np.isnan(every)]
    return CentroidError(float(seen.mean()) if len(seen) else None, len(seen) / len(every))


def measure(pipeline_folder: Path, generated: Path, data: Path) -> dict[str, Any]:
    """Return the VAE's PSNR on held-out sample clips, and the centroid error of every variant of a generation.

    Args:
        pipeline_folder: the embedded pipeline.
        generated: run directory of generate, on the sample data's test pairs.
        data: the robot sample data.

    """
    from tao_skill_bank.models.cosmos_predict import pipeline

    vae = pipeline.load_vae(pipeline_folder, torch.float32, torch.device("cpu"))
    held_out = [_frames(path) for path in sorted((data / "val" / "videos").glob("*.mp4"))]
    videos = torch.stack([torch.from_numpy(frames).permute(3, 0, 1, 2) for frames in held_out]).float() / 127.5 - 1
    pairs: dict[str, list[tuple[Frames, Frames]]] = {}
    for entry in json.loads((generated / "results.json").read_text(encoding="utf-8")):
        reference = _frames(data / "reference" / f"{entry['name']}.mp4")
        pairs.setdefault(entry["variant"], []).append((_frames(generated / entry["output"]), reference))
    return {
        "psnr_db": reconstruction_psnr(vae, videos),
        "centroid_error": {variant: asdict(centroid_error(both)) for variant, both in pairs.items()},
    }


def _frames(path: Path) -> Frames:
    frames = clip_frames.read(path, range(len(whole_clip_index(path))))
    return np.stack([frames[position] for position in sorted(frames)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("pipeline", "generated", "data"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    sys.stdout.write(json.dumps(measure(given.pipeline, given.generated, given.data)) + "\n")


if __name__ == "__main__":
    main()
