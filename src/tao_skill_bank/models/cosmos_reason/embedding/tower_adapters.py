"""Whether an adapter changes the vision tower, by the names of its weights. No torch here: inspection asks, too."""

from pathlib import Path

from tao_skill_bank.weights import adapter_files, safetensors_files

PART = "model.visual."  # in the names of the tower's weights, also in those of an adapter


def is_changed_by(adapter: Path) -> bool:
    """Return whether an adapter changes the vision tower; one that cannot be read may."""
    weights = adapter / adapter_files.PEFT_WEIGHTS
    if not weights.is_file() or safetensors_files.corruption_of(weights):
        return True
    return any(PART in name for name in safetensors_files.read_header(weights))
