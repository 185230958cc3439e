"""One self-contained checkpoint in safetensors/merged: `python -m tao_skill_bank.models.cosmos_reason.export`."""

import shutil

import torch

from tao_skill_bank.core import umask
from tao_skill_bank.errors import RequestError
from tao_skill_bank.models.cosmos_reason import model, preload
from tao_skill_bank.models.cosmos_reason.config import ExportConfig
from tao_skill_bank.runs import fencing
from tao_skill_bank.training import entrypoint
from tao_skill_bank.training.entrypoint import Run


def export(config: ExportConfig, run: Run) -> str:
    """Merge the adapter, if any, and write the checkpoint. Returns the closing message."""
    if config.enable_lora and not config.base_model_path:
        raise RequestError.of("base_model_path", "enable_lora needs base_model_path.", "Set it to the base model.")
    dtype = "auto" if config.dtype == "auto" else getattr(torch, config.dtype)
    base = config.base_model_path if config.enable_lora else None
    run.status.phase("loading the model")
    network, folder = model.load_merged(config.model_path, base=base, dtype=dtype, ranks=run.ranks)
    run.status.phase("saving the checkpoint")
    target = run.results_dir / "safetensors" / "merged"
    work = target.parent / ".merged"
    shutil.rmtree(work, ignore_errors=True)
    network.save_pretrained(str(work), max_shard_size=config.max_shard_size)
    umask.follow(work)
    model.copy_processor(folder, work)
    fencing.require_current()
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)
    return f"Wrote {target}."


if __name__ == "__main__":
    entrypoint.main(ExportConfig, export, lambda config: config.results_dir, load_libraries=preload.for_export)
