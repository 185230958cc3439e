"""The quantized checkpoint's folder."""

from pathlib import Path
from typing import Any

from tao_skill_bank.core import umask
from tao_skill_bank.models.cosmos_reason import model
from tao_skill_bank.models.cosmos_reason.quantization import scheme


def write(network: Any, folder: Path, base: Path) -> None:
    """Write a packed network with its quantization_config, and the processor files of the `base` checkpoint.

    Args:
        network: packed by `scales.pack`.
        folder: the checkpoint folder for transformers and vLLM.
        base: the checkpoint folder that was quantized.

    """
    from compressed_tensors.compressors import ModelCompressor

    compressor = ModelCompressor.from_pretrained_model(network)
    compressor.compress_model(network, skip_compressed=True)
    # Patterns instead of every layer's name: engines rename the modules of the vision tower.
    compressor.quantization_config.ignore = list(scheme.IGNORED)
    network.save_pretrained(str(folder))
    umask.follow(folder)
    compressor.update_config(str(folder))
    model.copy_processor(base, folder)


def weight_bytes(folder: Path) -> int:
    """Return the size of a checkpoint's weight files."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
