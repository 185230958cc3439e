"""The installed transformers processor, made usable without torchvision: what our own code is compared with."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as image_resize
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor, smart_resize

HALF = [0.5, 0.5, 0.5]


class VideoProcessor(Qwen3VLVideoProcessor):
    def resize(self, videos: torch.Tensor, size: Any, factor: int, temporal_factor: int, **_: Any) -> torch.Tensor:  # type: ignore[override]
        time, height, width = videos.shape[1], *videos.shape[-2:]
        rows, columns = smart_resize(
            height=height,
            width=width,
            num_frames=time,
            factor=factor,
            temporal_factor=temporal_factor,
            min_pixels=size.shortest_edge,
            max_pixels=size.longest_edge,
        )
        flat = videos.reshape(-1, *videos.shape[-3:])
        resized = F.interpolate(flat, (rows, columns), mode="bicubic", antialias=True, align_corners=False)
        return resized.reshape(*videos.shape[:3], rows, columns)

    def rescale_and_normalize(self, images: torch.Tensor, *_: Any) -> torch.Tensor:  # type: ignore[override]
        return (images.float() - 127.5) / 127.5

    def convert_to_rgb(self, video: torch.Tensor) -> torch.Tensor:
        return video


class ImageProcessor(Qwen2VLImageProcessorPil):
    def resize(self, image: np.ndarray, size: Any, factor: int, **_: Any) -> np.ndarray:  # type: ignore[override]
        height, width = image.shape[-2:]
        shown = image_resize(height, width, factor=factor, min_pixels=size.shortest_edge, max_pixels=size.longest_edge)
        given = torch.from_numpy(np.ascontiguousarray(image))[None]
        return F.interpolate(given, shown, mode="bicubic", antialias=True, align_corners=False)[0].numpy()


class Processor(Qwen3VLProcessor):
    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:  # noqa: ARG002
        return type(argument)


def build(tokenizer: Any) -> Processor:
    images = Qwen2VLImageProcessorPil(patch_size=16, merge_size=2, image_mean=HALF, image_std=HALF)
    videos = VideoProcessor(image_mean=HALF, image_std=HALF, cap_pixels_per_frame=False)
    return Processor(images, tokenizer, videos, chat_template=tokenizer.chat_template)
