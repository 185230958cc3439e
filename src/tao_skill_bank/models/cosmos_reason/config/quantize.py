"""Spec of the quantize action: post-training quantization with calibration on video data."""

from typing import Literal

from tao_skill_bank.bank.parameters import group, parameter, spec_dataclass
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling


@spec_dataclass
class QuantizedModel:
    """The checkpoint to quantize."""

    model_path: str = parameter(
        "nvidia/Cosmos-Reason2-8B",
        doc="hf_model://ORG/NAME, a checkpoint folder or an adapter folder.",
        min_length=1,
        popular=True,
    )
    enable_lora: bool = parameter(
        False, doc="model_path is an adapter folder that is merged into base_model_path first."
    )
    base_model_path: str = parameter("", doc="Base model of the adapter; required with enable_lora.")


@spec_dataclass
class CalibrationData:
    """Annotated videos and their media."""

    annotation_path: str = parameter(doc="LLaVA annotation file (.json or .jsonl).", min_length=1)
    media_dir: str = parameter(doc="Folder, videos.tar.gz or images.tar.gz of the media.", min_length=1)


@spec_dataclass
class Quantize:
    """Scheme and calibration."""

    num_calibration_samples: int = parameter(512, doc="Records used for calibration.", minimum=1)
    max_sequence_length: int = parameter(
        4096, doc="Longest sequence in tokens; must hold a clip's vision tokens.", minimum=1
    )
    quantization_scheme: Literal["FP8_DYNAMIC", "FP8", "W8A8", "W8A16", "W4A16", "NVFP4"] = parameter(
        "W4A16", doc="Weight and activation format.", popular=True
    )
    kv_precision: Literal["bf16", "fp8"] = parameter("bf16", doc="Format of the key-value cache.")
    smoothing_strength: float = parameter(
        0.8, doc="SmoothQuant strength for W8A8; 0 disables smoothing.", minimum=0, maximum=1
    )
    skip_test_generation: bool = parameter(
        False, doc="Skip the sanity generation, one question before and after quantization."
    )
    max_new_tokens: int = parameter(
        1024, doc="Longest answer in tokens, in the sanity generation and the evaluation.", minimum=1
    )
    for_another_machine: bool = parameter(
        False, doc="Allow a scheme that this machine's GPU does not support, for serving elsewhere."
    )


@spec_dataclass
class QuantizeConfig:
    """Post-training quantization of a checkpoint."""

    calibration_dataset: CalibrationData = parameter(doc="Calibration data.")
    dataset: CalibrationData | None = parameter(None, doc="Held-out data for the evaluation before and after.")
    model: QuantizedModel = group(QuantizedModel, doc="The checkpoint.")
    quantize: Quantize = group(Quantize, doc="Scheme and calibration.")
    vision: VideoSampling = group(VideoSampling, doc="Video sampling; use the settings of training.")
    system_prompt: str = parameter("", doc="System prompt of every question; empty for none.", free_text=True)
    results_dir: str | None = parameter(
        None, doc="Run directory; the quantized checkpoint is written here.", min_length=1
    )
