"""What programs load before they work: diffusers' parts of the pipeline, and extras only for quantized weights."""

from typing import Protocol

from tao_skill_bank.models.cosmos_predict.config.shared import Model
from tao_skill_bank.training import imports

NETWORK = ("diffusers.models.transformers.transformer_cosmos", "diffusers.models.autoencoders.autoencoder_kl_wan")
ADAPTERS = "peft"
KEPT = ("scipy",)  # some settings of diffusers' scheduler need it


class UsesPipeline(Protocol):
    """A spec with a base pipeline."""

    @property
    def model(self) -> Model: ...


def for_pipeline(config: UsesPipeline) -> None:
    """Load what a program with a base pipeline uses."""
    is_quantized = imports.needs_quantization(config.model.pretrained_model_name_or_path)
    without = [name for name in imports.OTHER if name not in KEPT]
    without += [] if is_quantized else imports.QUANTIZATION
    imports.load([*NETWORK, ADAPTERS], without=without)
