"""Exports a pipeline with a merged adapter: `python -m tao_skill_bank.models.cosmos_predict.export --config F`."""

import shutil
from pathlib import Path

import torch

from tao_skill_bank.core import umask
from tao_skill_bank.models.cosmos_predict import adapter_folder, fusing, pipeline, preload
from tao_skill_bank.models.cosmos_predict.adapter_folder import PART
from tao_skill_bank.models.cosmos_predict.config import ExportConfig
from tao_skill_bank.runs import fencing
from tao_skill_bank.staging import fetch
from tao_skill_bank.training import entrypoint
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.weights import adapter_files

NAME = "adapter"


def export(config: ExportConfig, run: Run) -> str:
    """Merge the adapter into the transformer and write the complete pipeline. Returns the closing message."""
    path, variant = Path(config.adapter_path), config.model.variant
    adapter_files.read(path)
    folder = pipeline.find_pipeline(config.model.pretrained_model_name_or_path, run.ranks)
    dtype = getattr(torch, config.dtype)
    run.status.phase("loading the model")
    transformer = pipeline.load_transformer(folder, dtype, run.ranks.device, variant)
    adapter_folder.load(transformer, path, NAME, folder)
    transformer.set_adapters([NAME], [config.weight])
    fusing.fuse(transformer, [NAME])
    run.status.phase("saving the checkpoint")
    target = run.results_dir / "safetensors" / "merged"
    work = target.parent / ".merged"
    shutil.rmtree(work, ignore_errors=True)
    _copy_rest(folder, work)
    transformer.save_pretrained(str(work / PART), variant=variant)
    umask.follow(work / PART)
    fencing.require_current()
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)
    return f"Wrote {target}."


def _copy_rest(folder: Path, target: Path) -> None:
    """Copy everything but the transformer of a pipeline into a new folder, as hard links where supported."""

    def skipped(directory: str, names: list[str]) -> list[str]:
        return [name for name in names if name.startswith(".") or (Path(directory) == folder and name == PART)]

    shutil.copytree(folder, target, copy_function=fetch.link, ignore=skipped)


if __name__ == "__main__":
    entrypoint.main(ExportConfig, export, lambda config: config.results_dir, load_libraries=preload.for_pipeline)
