"""Spec of the generate action: videos from prompts, first frames or clips, with the base and adapters."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tao_skill_bank.bank.parameters import group, parameter, spec_dataclass
from tao_skill_bank.models.cosmos_predict.config import shared
from tao_skill_bank.models.cosmos_predict.config.shared import Model, Seed


@spec_dataclass
class AdapterUse:
    """One adapter and its weight."""

    path: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    weight: float = 1.0


@spec_dataclass
class GenerateConfig:
    """Generate videos for a pair, a folder of pairs or a JSONL file; base and adapters side by side in one page."""

    exactly_one: ClassVar = ("inputs", "prompt")

    model: Model = group(Model, doc="The base pipeline.")
    adapters: list[AdapterUse] = parameter(
        [], doc="Adapters, each {path, name, weight}: folders of train, or files that diffusers loads.", automl=False
    )
    adapter_mode: Literal["swap", "blend", "fuse"] = parameter(
        "swap",
        doc="swap uses one adapter after another, blend all of them at once with their weights, fuse "
        "the same but merged into the base's weights, which is the fastest.",
        automl=False,
    )
    include_base: bool = parameter(True, doc="Also generate with the base alone, for comparison.", automl=False)
    inputs: str | None = parameter(
        None,
        doc="Folder of NAME.txt with NAME.png, NAME.jpg or NAME.mp4 next to it, or a .jsonl file of "
        "{name, prompt, image | video}.",
        min_length=1,
        automl=False,
        popular=True,
    )
    limit: int | None = parameter(
        None,
        doc="Generate only for N of the inputs, chosen by a hash of their names: the same ones for every adapter, and "
        "a larger limit adds to them. None takes all.",
        minimum=1,
        automl=False,
    )
    prompt: str | None = parameter(
        None, doc="Prompt of a single video.", min_length=1, automl=False, popular=True, free_text=True
    )
    image: str | None = parameter(None, doc="First frame of the single video.", min_length=1, automl=False)
    video: str | None = parameter(None, doc="Clip that the single video continues.", min_length=1, automl=False)
    negative_prompt: str | None = parameter(
        None, doc="Negative prompt of guidance; none uses the pipeline's default.", automl=False, free_text=True
    )
    num_frames: int = shared.num_frames()
    num_steps: int = parameter(36, doc="Denoising steps.", minimum=1, popular=True)
    guidance_scale: float = parameter(7.0, doc="Strength of classifier-free guidance; 1 or less disables it.")
    conditional_frame_timestep: float = parameter(
        0.0001, doc="Noise level passed to the transformer for clean frames; negative passes the clip's noise level."
    )
    num_conditional_latent_frames: int = parameter(
        2, doc="Latent frames taken from an input clip; 2 are its last 5 frames.", minimum=1, maximum=2
    )
    height: int = shared.height()
    width: int = shared.width()
    fps: int = shared.frames_per_second()
    seeds: list[Seed] = parameter([0], doc="One video per input, adapter and seed.", min_length=1, automl=False)
    batch_size: int = parameter(1, doc="Videos denoised in one batch.", minimum=1)
    mixed_precision: Literal["bf16", "no"] = parameter("bf16", doc="Type of weights and activations.", automl=False)
    safety_checker: Literal["auto", "off"] = parameter(
        "auto",
        doc="auto checks prompts and videos with cosmos_guardrail, which must be installed; off generates unchecked, "
        "which the results record.",
        automl=False,
    )
    skip_saved: bool = parameter(True, doc="Keep videos that an earlier run of this folder finished.", automl=False)
    num_gpus: int = parameter(1, doc="GPUs that share the videos.", minimum=1, automl=False, popular=True)
    results_dir: str | None = parameter(
        None, doc="Run directory; gets videos/, results.json and gallery.html.", min_length=1, automl=False
    )
