"""Compares base and adapters on videos: `torchrun ... -m tao_skill_bank.models.cosmos_predict.evaluate --config F`."""

import hashlib
import importlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding, to_json
from tao_skill_bank.core import subset
from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.models.cosmos_predict import comparison, comparison_picture, generated_videos, judge, sampson
from tao_skill_bank.models.cosmos_predict.config import EvaluateConfig
from tao_skill_bank.models.cosmos_predict.generated_videos import Video
from tao_skill_bank.models.cosmos_predict.judge import Judge
from tao_skill_bank.runs.run_directory import verbatim_json, write_whole
from tao_skill_bank.training import distributed, entrypoint
from tao_skill_bank.training.entrypoint import Run

MEASUREMENT = 1  # version of the measurements; increase it to invalidate cached ones
JUDGED = (judge.PHYSICS, judge.INSTRUCTION)
Entry = dict[str, Any]
logger = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig, run: Run) -> str:
    """Measure every video and compare the variants. Returns the closing message.

    Measurements are cached per video under scores/, so that a restarted run resumes where it was.
    """
    _require_libraries(config)
    videos = generated_videos.find(config.generated_dir, config.reference_dir, config.sampson.view_separator)
    names = list(dict.fromkeys(video.name for video in videos))
    if config.limit is not None:
        taken = {names[index] for index in subset.chosen(names, config.limit)}
        videos = [video for video in videos if video.name in taken]
    generated_videos.check_readable(videos)
    judges = any(metric in JUDGED for metric in config.metrics)
    asked = judge.open_judge(config, run.ranks) if judges else None
    if asked and len(config.seeds) > 1 and config.judge.temperature == 0:
        logger.warning("judge.temperature is 0: the judge's answers are the same for every seed.")
    scores = run.results_dir / "scores"
    scores.mkdir(parents=True, exist_ok=True)
    files = [scores / f"{_identity(config, video, asked)}.json" for video in videos]
    still_open = [position for position, file in enumerate(files) if not file.is_file()]
    still_open = run.ranks.gather(still_open)[0]  # other ranks may look after rank 0 has measured the first
    own = still_open[run.ranks.rank :: run.ranks.world]
    for number, position in enumerate(own, start=1):
        entry = _measure(config, videos[position], asked)
        write_whole(files[position], verbatim_json(entry))
        run.status.progress(number, len(own), f"{number} of {len(own)} videos measured")
    run.ranks.barrier()
    if not run.ranks.is_main:
        return ""
    entries = [_described(config, *pair) for pair in zip(videos, files, strict=True)]
    found = subset.findings("limit", config.limit, len(names), "names of videos")
    return _write_results(run.results_dir, entries, len(names), found)


def _measure(config: EvaluateConfig, video: Video, asked: Judge | None) -> Entry:
    """Return the measurements of one video. A video that fails to decode is reported as not measured."""
    found: Entry = {"sampson": None, "cross_view": None, **dict.fromkeys(JUDGED)}
    if "sampson" in config.metrics:
        found["sampson"] = _readable(lambda: asdict(sampson.temporal(video.path, config.sampson)))
        if video.other_views:
            found["cross_view"] = _readable(
                lambda: asdict(sampson.cross_view(video.path, video.other_views, config.sampson))
            )
    metrics = [metric for metric in JUDGED if metric in config.metrics]
    if asked and metrics:
        found |= _judged(config, video, asked, metrics)
    return found


def _judged(config: EvaluateConfig, video: Video, asked: Judge, metrics: Sequence[str]) -> Entry:
    shown: Any = None

    def verdict(metric: str) -> Entry:
        nonlocal shown
        shown = asked.watch(video.path) if shown is None else shown
        question = judge.question(metric, video.prompt or "")
        return judge.score(asked, shown, question, config.seeds, config.judge.max_retries).to_json()

    found = {}
    for metric in metrics:
        if metric == judge.INSTRUCTION and not video.prompt:
            found[metric] = _no_value("The video's prompt is unknown: there is neither results.json nor NAME.txt.")
        else:
            found[metric] = _readable(lambda metric=metric: verdict(metric))
    return found


def _readable(measure: Any) -> Entry:
    try:
        result: Entry = measure()
    except BlockedError as error:
        if error.problems[0].code != "media_unreadable":
            raise
        return _no_value(str(error))
    return result


def _no_value(reason: str) -> Entry:
    return {"mean": None, "std": None, "reason": reason, "answers": []}


def _described(config: EvaluateConfig, video: Video, file: Path) -> Entry:
    """Return an entry of results.json: the video and its measurements."""
    root = Path(config.generated_dir).absolute()
    shown = video.path.relative_to(root) if video.path.is_relative_to(root) else video.path
    entry = {"name": video.name, "variant": video.variant, "seed": video.seed, "video": str(shown)}
    measured: Entry = json.loads(file.read_text(encoding="utf-8"))
    return {**entry, "prompt": video.prompt, **measured}


def _write_results(folder: Path, entries: list[Entry], num_names: int, findings: Sequence[Finding]) -> str:
    """Write every result file and return the closing message."""
    compared = comparison.compare(entries)
    table = comparison.to_markdown(compared)
    summary = {
        **comparison.summary(compared),
        "num_records": num_names,
        "findings": [to_json(finding) for finding in findings],
    }
    texts = {
        "results.json": verbatim_json(entries),
        "metrics_summary.json": verbatim_json(summary),
        "comparison.csv": comparison.to_csv(compared),
        "comparison.md": table,
    }
    for name, text in texts.items():
        write_whole(folder / name, text)
    comparison_picture.draw(compared, folder / "comparison.png")
    logger.info("\n%s", table)
    taken = len({entry["name"] for entry in entries})
    of = "" if taken == num_names else f" of {subset.text(taken, num_names, 'names')}"
    return f"Compared {len(compared.rows)} variants on {len(entries)} videos{of}."


def _identity(config: EvaluateConfig, video: Video, asked: Judge | None) -> str:
    """Return a hash of everything that determines the measurements of a video."""
    options = asdict(config.judge)
    del options["timeout_seconds"], options["api_key_variable"], options["model"], options["endpoint"]
    known = {
        "measurement": MEASUREMENT,
        "video": [video.variant, video.name, video.seed, video.content_hash(), video.prompt],
        "metrics": sorted(config.metrics),
        "sampson": asdict(config.sampson) if "sampson" in config.metrics else None,
        "judge": [asked.identity, options, config.seeds] if asked else None,
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]


def _require_libraries(config: EvaluateConfig) -> None:
    """Raise MissingExtraError early for a library that is needed only later."""
    if "sampson" in config.metrics:
        sampson.require()
    for module in ("av", "matplotlib", "PIL"):
        try:
            importlib.import_module(module)
        except ImportError:
            raise MissingExtraError.for_module(module, "predict") from None


if __name__ == "__main__":
    entrypoint.main(EvaluateConfig, evaluate, lambda config: config.results_dir, distributed.UNEVEN_TIMEOUT)
