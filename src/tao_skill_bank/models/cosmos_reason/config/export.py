"""Spec of the export action: merge adapters and write plain safetensors."""

from typing import Literal

from tao_skill_bank.bank.parameters import parameter, spec_dataclass


@spec_dataclass
class ExportConfig:
    """Write one self-contained checkpoint that transformers and vLLM load."""

    model_path: str = parameter(
        doc="Checkpoint folder, or adapter folder together with enable_lora.", min_length=1, popular=True
    )
    enable_lora: bool = parameter(False, doc="model_path is an adapter folder that is merged into base_model_path.")
    base_model_path: str = parameter("", doc="Base model of the adapter; required with enable_lora.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = parameter(
        "auto", doc="Type of the written weights; auto keeps the checkpoint's."
    )
    max_shard_size: str = parameter("5GB", doc="Largest safetensors file.", pattern=r"^[0-9]+(MB|GB)$")
    results_dir: str | None = parameter(
        None, doc="Run directory; the checkpoint is written to safetensors/merged.", min_length=1
    )
