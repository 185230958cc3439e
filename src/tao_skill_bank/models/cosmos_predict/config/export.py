"""Spec of the export action: a complete pipeline with a merged adapter."""

from typing import Literal

from tao_skill_bank.bank.parameters import group, parameter, spec_dataclass
from tao_skill_bank.models.cosmos_predict.config.shared import Model


@spec_dataclass
class ExportConfig:
    """Merge an adapter into the base and write a pipeline folder that diffusers loads."""

    adapter_path: str = parameter(doc="Adapter folder.", min_length=1, automl=False, popular=True)
    model: Model = group(Model, doc="The base pipeline.")
    weight: float = parameter(1.0, doc="Weight of the adapter.", automl=False)
    dtype: Literal["bfloat16", "float32"] = parameter("bfloat16", doc="Type of the written weights.", automl=False)
    results_dir: str | None = parameter(
        None, doc="Run directory; gets the pipeline in safetensors/merged.", min_length=1, automl=False
    )
