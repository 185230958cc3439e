"""Spec parts that several actions of this skill share."""

from typing import ClassVar

from tao_skill_bank.bank.parameters import Search, parameter, spec_dataclass


@spec_dataclass
class VideoSampling:
    """How frames are sampled from a clip, and their pixel budgets. Exactly one of fps and nframes."""

    exactly_one: ClassVar = ("fps", "nframes")
    together: ClassVar = ("resized_height", "resized_width")

    fps: float | None = parameter(
        None,
        template=1.0,
        doc="Frames sampled per second of video: 3 for high motion, 1 to 2 for static scenes. Excludes nframes.",
        above=0,
        search=Search(minimum=1, maximum=3),
        automl=True,
        popular=True,
    )
    nframes: int | None = parameter(
        None, doc="Number of frames sampled evenly over the whole clip. Excludes fps.", minimum=1
    )
    total_pixels: int = parameter(
        3136000,
        doc="Pixel budget of one clip: frames x height x width after resizing.",
        minimum=1024,
        popular=True,
    )
    min_pixels: int | None = parameter(
        None, doc="Smallest height x width of one frame or image; by the checkpoint's processor if unset.", minimum=1024
    )
    max_pixels: int | None = parameter(
        None, doc="Largest height x width of one frame or image; by the checkpoint's processor if unset.", minimum=1024
    )
    min_frames: int | None = parameter(None, doc="Minimum number of frames per clip when sampling by fps.", minimum=1)
    max_frames: int | None = parameter(None, doc="Maximum number of frames per clip when sampling by fps.", minimum=1)
    resized_height: int | None = parameter(
        None, doc="Exact frame height in pixels; given together with resized_width.", minimum=32
    )
    resized_width: int | None = parameter(
        None, doc="Exact frame width in pixels; given together with resized_height.", minimum=32
    )
    video_start: float | None = parameter(None, doc="Second at which sampling starts.", minimum=0)
    video_end: float | None = parameter(None, doc="Second at which sampling ends; greater than video_start.", above=0)


@spec_dataclass
class AnnotatedMedia:
    """An annotation file and the folder or archive of its media."""

    annotation_path: str = parameter(doc="LLaVA annotation file (.json or .jsonl).", min_length=1, automl=False)
    media_path: str = parameter(
        doc="Folder, videos.tar.gz or images.tar.gz that media names in the annotation are relative to.",
        min_length=1,
        automl=False,
    )
