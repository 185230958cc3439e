"""Pixels of upright frames at the limits of a checkpoint's files, held against transformers' own processors.

Where torchvision is missing, transformers resizes no videos, and images with Pillow, whose pixels differ by up to two
of 255 steps. There both are resized for it by the function of torch that torchvision calls (`transformers_processor`).
"""

import json
import random
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as image_resize
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as video_resize

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import tokens
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat, normalize, patchify, resize

from .transformers_processor import ImageProcessor, VideoProcessor

HAS_TORCHVISION = find_spec("torchvision") is not None
STEPS = 2 / 127.5 + 1e-6
UNBOUNDED = VideoSampling(total_pixels=10**9)
SIZES = [(64, 64), (97, 131), (20, 500), (240, 320), (720, 1280)]
LARGE_SIZES = [(1080, 1920), (2160, 3840), (64, 4096), (4096, 64), (4096, 4096), (3000, 2111)]
LIMITS = {  # of images, of videos: as published with Qwen3-VL, and a checkpoint's own
    "published": ((65_536, 16_777_216), (4_096, 25_165_824)),
    "own": ((200_000, 400_000), (300_000, 900_000)),
}


def write_checkpoint(folder: Path, limits: str) -> Path:
    """Write the processor files of a checkpoint."""
    shared = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5] * 3}
    shared["image_std"] = [0.5] * 3
    for file, (least, most) in zip(
        ("preprocessor_config.json", "video_preprocessor_config.json"), LIMITS[limits], strict=True
    ):
        document = {**shared, "size": {"shortest_edge": least, "longest_edge": most}}
        document["image_processor_type"] = "Qwen2VLImageProcessor"
        document["video_processor_type"] = "Qwen3VLVideoProcessor"
        (folder / file).write_text(json.dumps(document), encoding="utf-8")
    return folder


def image_case(folder: Path, size: tuple[int, int]) -> None:
    pixel_format = PixelFormat.load(folder)
    pixels = np.random.default_rng(size).integers(0, 255, (*size, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    shown = tokens.image_size(UNBOUNDED, width=size[1], height=size[0], geometry=pixel_format.geometry)
    ours = normalize(patchify(resize(image, shown)[None], pixel_format.geometry), pixel_format)
    by_pillow = Qwen2VLImageProcessorPil.from_pretrained(str(folder))(images=[pixels], return_tensors="pt")
    theirs = torch.as_tensor(by_pillow["pixel_values"])
    assert theirs.shape == ours.shape
    assert (theirs - ours).abs().max() <= STEPS
    same_resize = ImageProcessor.from_pretrained(str(folder))(images=[pixels], return_tensors="pt")
    assert torch.equal(as_bytes(torch.as_tensor(same_resize["pixel_values"])), as_bytes(ours))
    if HAS_TORCHVISION:
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

        served = Qwen2VLImageProcessor.from_pretrained(str(folder))(images=[image], return_tensors="pt")
        assert torch.equal(served["pixel_values"], ours)


def as_bytes(values: torch.Tensor) -> torch.Tensor:
    """Return normalised pixels as the uint8 they came from; numpy and torch round their normalisation differently."""
    return ((values + 1) * 127.5).round().to(torch.uint8)


def video_case(folder: Path, size: tuple[int, int], num_frames: int) -> None:
    pixel_format = PixelFormat.load(folder)
    pixels = np.random.default_rng(num_frames).integers(0, 255, (num_frames, *size, 3), dtype=np.uint8)
    frames = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    how = {"width": size[1], "height": size[0], "num_frames": num_frames, "geometry": pixel_format.geometry}
    shown = tokens.frame_size(UNBOUNDED, **how)
    resized = torch.stack([resize(frame, shown) for frame in frames])
    ours = normalize(patchify(resized, pixel_format.geometry), pixel_format)
    processor = Qwen3VLVideoProcessor if HAS_TORCHVISION else VideoProcessor
    served = processor.from_pretrained(str(folder), do_sample_frames=False)(videos=[frames], return_tensors="pt")
    assert torch.equal(served["pixel_values_videos"], ours)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("size", SIZES)
def test_an_image_has_the_pixels_that_transformers_shows(tmp_path: Path, limits: str, size: tuple[int, int]) -> None:
    image_case(write_checkpoint(tmp_path, limits), size)


@pytest.mark.slow
@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("size", LARGE_SIZES)
def test_a_large_image_has_the_pixels_that_transformers_shows(
    tmp_path: Path, limits: str, size: tuple[int, int]
) -> None:
    image_case(write_checkpoint(tmp_path, limits), size)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("num_frames", [4, 5])
@pytest.mark.parametrize("size", SIZES[:4])
def test_a_clip_has_the_pixels_that_transformers_shows(
    tmp_path: Path, limits: str, num_frames: int, size: tuple[int, int]
) -> None:
    video_case(write_checkpoint(tmp_path, limits), size, num_frames)


@pytest.mark.slow
@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("size", LARGE_SIZES)
def test_a_large_clip_has_the_pixels_that_transformers_shows(
    tmp_path: Path, limits: str, size: tuple[int, int]
) -> None:
    video_case(write_checkpoint(tmp_path, limits), size, 3)


def test_ten_thousand_sizes_are_those_of_transformers() -> None:
    draw = random.Random(0)
    for _ in range(10_000):
        height, width = (int(2 ** draw.uniform(0, 12.5)) for _ in range(2))
        num_frames = draw.randint(2, 40)
        (least, most), (least_video, most_video) = LIMITS[draw.choice(list(LIMITS))]
        geometry = tokens.Geometry(limits=tokens.PixelLimits(least, most, least_video, most_video))
        how = {"width": width, "height": height, "geometry": geometry}
        case = (height, width, num_frames, geometry)
        bounds = {"factor": 32, "min_pixels": least, "max_pixels": most}
        assert size_or_none(image_resize, height, width, **bounds) == size_or_none(
            tokens.image_size, UNBOUNDED, **how
        ), case
        bounds |= {"min_pixels": least_video, "max_pixels": most_video}
        assert size_or_none(video_resize, num_frames, height, width, **bounds) == size_or_none(
            tokens.frame_size, UNBOUNDED, num_frames=num_frames, **how
        ), case


def size_or_none(resizer, *arguments, **options):  # type: ignore[no-untyped-def]
    """Return a size, or None where a side is too long."""
    try:
        return resizer(*arguments, **options)
    except (ValueError, BlockedError):
        return None
