"""Spec of the inference action: one video or image, one prompt."""

from typing import ClassVar, Literal

from tao_skill_bank.bank.parameters import parameter, spec_dataclass


@spec_dataclass
class InferenceConfig:
    """Answer one prompt about one video or image."""

    exactly_one: ClassVar = ("fps", "num_frames")

    media: str = parameter(doc="Path of the video or image.", min_length=1, popular=True)
    prompt: str = parameter(doc="Question to answer.", min_length=1, popular=True, free_text=True)
    type: Literal["video", "image"] = parameter("video", doc="Kind of the media.", popular=True)
    model_path: str = parameter(
        "nvidia/Cosmos-Reason2-8B",
        doc="hf_model://ORG/NAME, a checkpoint folder, or an adapter folder together with enable_lora.",
        min_length=1,
        popular=True,
    )
    enable_lora: bool = parameter(False, doc="model_path is an adapter folder that is merged into base_model_path.")
    base_model_path: str = parameter("", doc="Base model of the adapter; required with enable_lora.")
    torch_dtype: Literal["auto", "float32", "float16", "bfloat16"] = parameter(
        "auto", doc="Type of weights; auto uses the checkpoint's."
    )
    device_map: Literal["auto", "cpu", "cuda"] = parameter("auto", doc="Device; auto uses the GPU if there is one.")
    num_gpus: int = parameter(1, doc="GPUs; must be 1, one answer uses one GPU.", minimum=1)
    fps: float | None = parameter(
        None, template=1.0, doc="Frames sampled per second of video. Excludes num_frames.", above=0
    )
    num_frames: int | None = parameter(None, doc="Frames sampled evenly over the clip. Excludes fps.", minimum=1)
    total_pixels: int = parameter(200704, doc="Pixel budget of the clip: frames x height x width.", minimum=1024)
    system_prompt: str = parameter("", doc="System prompt; empty for none.", free_text=True)
    max_new_tokens: int = parameter(32, doc="Longest answer in tokens.", minimum=1)
    results_dir: str | None = parameter(None, doc="Run directory; results.json is written here.", min_length=1)
