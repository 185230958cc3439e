"""Videos from prompts, images or clips: `torchrun ... -m tao_skill_bank.models.cosmos_predict.generate --config F`.

Every rank generates its share of the videos independently; ranks synchronize once, at the end.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.core import subset
from tao_skill_bank.data.prompt_pairs import Prompt
from tao_skill_bank.errors import BlockedError, Problem
from tao_skill_bank.models.cosmos_predict import (
    conditions,
    gallery,
    generation_plan,
    pipeline,
    preload,
    safety,
    video_file,
)
from tao_skill_bank.models.cosmos_predict.config import GenerateConfig
from tao_skill_bank.models.cosmos_predict.generation_plan import Records, Variant, Video
from tao_skill_bank.models.cosmos_predict.generator import Place, VideoGenerator
from tao_skill_bank.runs.run_directory import verbatim_json, write_whole
from tao_skill_bank.training import distributed, entrypoint
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.weights import adapter_files

DTYPES = {"bf16": torch.bfloat16, "no": torch.float32}


def generate(config: GenerateConfig, run: Run) -> str:
    """Generate every missing video, then write the results and the gallery. Returns the closing message."""
    is_checked = safety.require_safety_checker(config.safety_checker)
    prompts, available = conditions.read_prompts(config)
    for adapter in config.adapters:
        adapter_files.read(Path(adapter.path))
    run.status.phase(f"finding the model {config.model.pretrained_model_name_or_path}")
    folder = pipeline.find_pipeline(config.model.pretrained_model_name_or_path, run.ranks)
    every = generation_plan.videos(config, prompts)
    records = Records(run.results_dir, config, folder)
    saved = {video for video in every if config.skip_saved and records.finished(video)}
    own = generation_plan.batches(every, config.batch_size)[run.ranks.rank :: run.ranks.world]
    to_do = [rest for batch in own if (rest := [video for video in batch if video not in saved])]
    if to_do:
        open_prompts = list(dict.fromkeys(video.prompt for batch in to_do for video in batch))
        if is_checked:
            run.status.phase("checking the prompts")
        checker = _load_checker(open_prompts, run) if is_checked else None
        run.status.phase("loading the models")
        place = Place(folder, run.ranks, DTYPES[config.mixed_precision], config.model.variant)
        _make(to_do, VideoGenerator(config, place, open_prompts, len(every)), checker, records, run)
    run.ranks.barrier()
    generation = {
        "safety_checker": safety.GUARDRAIL if is_checked else "off",
        "inputs": {"taken": len(prompts), "available": available},
    }
    return _write_results(config, run, records, every, generation) if run.ranks.is_main else ""


def _load_checker(prompts: Sequence[Prompt], run: Run) -> safety.SafetyChecker:
    """Load the safety checker and check every prompt. Raises BlockedError that names all unsafe ones."""
    checker = safety.load_safety_checker(run.ranks.device)
    fix = "Reword or remove the prompt."
    problems = [
        Problem("unsafe_prompt", f"The safety checker rejects the prompt of {prompt.name}.", fix, prompt.name)
        for prompt in prompts
        if not checker.check_text_safety(prompt.prompt)
    ]
    if problems:
        raise BlockedError(problems)
    return checker


def _make(
    to_do: Sequence[Sequence[Video]],
    generator: VideoGenerator,
    checker: safety.SafetyChecker | None,
    records: Records,
    run: Run,
) -> None:
    variant: Variant | None = None
    done, total = 0, sum(len(batch) for batch in to_do)
    for batch in to_do:
        if batch[0].variant != variant:
            variant = batch[0].variant
            generator.use(variant)
        for video, frames in zip(batch, generator.make(batch), strict=True):
            shown = frames if checker is None else checker.check_video_safety(frames)
            records.forget(video)
            if shown is not None:
                video_file.write(run.results_dir / video.output, shown, generator.config.fps)
            records.finish(video, withheld=shown is None)
            done += 1
        share = "" if run.ranks.world == 1 else " of the first process"
        run.status.progress(done, total, f"{done} of {total} videos{share}")


def _write_results(
    config: GenerateConfig, run: Run, records: Records, every: Sequence[Video], generation: dict[str, Any]
) -> str:
    """Write the result files; `generation` holds what the config does not say. Returns the closing message."""
    withheld = [video for video in every if (record := records.finished(video)) and record["withheld"]]
    entries = [generation_plan.entry(video, config) for video in every if video not in withheld]
    generation = {
        **generation,
        "model": config.model.pretrained_model_name_or_path,
        "adapters": [asdict(adapter) for adapter in config.adapters],
        "mode": config.adapter_mode,
        "steps": config.num_steps,
        "guidance_scale": config.guidance_scale,
        "noise": "numpy",
        "withheld": [video.output for video in withheld],
    }
    write_whole(run.results_dir / "generation.json", verbatim_json(generation))
    write_whole(run.results_dir / "results.json", verbatim_json(entries))
    page = gallery.write(run.results_dir, entries, generation)
    suffix = f";  the safety checker withheld {len(withheld)}" if withheld else ""
    taken, available = generation["inputs"].values()
    of = "" if taken == available else f" for {subset.text(taken, available, 'inputs')}"
    return f"{len(entries)} videos{of}{suffix}. See {page}."


if __name__ == "__main__":
    entrypoint.main(
        GenerateConfig,
        generate,
        lambda config: config.results_dir,
        distributed.UNEVEN_TIMEOUT,
        load_libraries=preload.for_pipeline,
    )
