"""The installed transformers processor, made usable without torchvision: what our own code is compared with."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
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


class Processor(Qwen3VLProcessor):
    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:  # noqa: ARG002
        return type(argument)


def build(tokenizer: Any) -> Processor:
    images = Qwen2VLImageProcessorPil(patch_size=16, merge_size=2, image_mean=HALF, image_std=HALF)
    videos = VideoProcessor(image_mean=HALF, image_std=HALF, cap_pixels_per_frame=False)
    return Processor(images, tokenizer, videos, chat_template=tokenizer.chat_template)
