"""Spec parts that several actions of this skill share."""

from typing import Annotated

from pydantic import Field

from tao_skill_bank.bank.parameters import parameter, spec_dataclass
from tao_skill_bank.models.cosmos_predict.geometry import SIZE_MULTIPLE

MODEL = "hf_model://nvidia/Cosmos-Predict2.5-2B@diffusers/base/post-trained"
Seed = Annotated[int, Field(ge=0)]


@spec_dataclass
class Model:
    """The frozen base pipeline."""

    pretrained_model_name_or_path: str = parameter(
        MODEL,
        doc="hf_model://ORG/NAME[@REVISION], a local folder in diffusers' layout, or builtin://tiny-cosmos-predict.",
        min_length=1,
        automl=False,
        popular=True,
    )
    variant: str | None = parameter(
        None,
        doc="Weight file variant of the checkpoint, such as fp16; none for the default files.",
        min_length=1,
        automl=False,
    )


def height(default: int = 432) -> int:
    """Return the field of the height of a clip."""
    field: int = parameter(
        default, doc=f"Frame height in pixels; a multiple of {SIZE_MULTIPLE}.", minimum=SIZE_MULTIPLE, popular=True
    )
    return field


def width(default: int = 768) -> int:
    """Return the field of the width of a clip."""
    field: int = parameter(
        default, doc=f"Frame width in pixels; a multiple of {SIZE_MULTIPLE}.", minimum=SIZE_MULTIPLE, popular=True
    )
    return field


def num_frames() -> int:
    """Return the field of the frames of a clip."""
    field: int = parameter(
        93, doc="Frames of a clip; 4 k + 1, because four frames share a latent frame.", minimum=1, popular=True
    )
    return field


def frames_per_second() -> int:
    """Return the field of a clip's frame rate."""
    field: int = parameter(16, doc="Frames per second of written videos.", minimum=1)
    return field
