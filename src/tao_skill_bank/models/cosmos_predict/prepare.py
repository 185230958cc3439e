"""Writes a dataset in the layout of training: `python -m tao_skill_bank.models.cosmos_predict.prepare --config F`.

output_dir/
  dataset.json                        what it contains and what was skipped
  train/videos/NAME.mp4, metas/NAME.txt, metadata.csv
  test/NAME.txt, NAME.png             only with a test source

The sources are never changed. If the same sources were already prepared with the same settings, nothing is done.
"""

import csv
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.core import locations, unfinished
from tao_skill_bank.core.listing import listed
from tao_skill_bank.data import clip_folders, clip_issues, prompt_pairs
from tao_skill_bank.data.clip_folders import Clip, ClipFolder
from tao_skill_bank.data.issues import Issue
from tao_skill_bank.data.prompt_pairs import PromptSet
from tao_skill_bank.errors import BlockedError, Problem, RequestError
from tao_skill_bank.models.cosmos_predict.clip_checks import Checked, check_clips
from tao_skill_bank.models.cosmos_predict.config import PrepareConfig
from tao_skill_bank.runs import fencing
from tao_skill_bank.runs.run_directory import read_object
from tao_skill_bank.staging import hub_dataset
from tao_skill_bank.staging.fetch import link
from tao_skill_bank.staging.hub_dataset import Source
from tao_skill_bank.training import entrypoint
from tao_skill_bank.training.entrypoint import Run

SUMMARY = "dataset.json"
REPORT = "report.json"


@dataclass(frozen=True)
class Sources:
    """The sources: training clips, and test pairs, if any."""

    train: Source
    clips: ClipFolder
    test: Source | None
    pairs: PromptSet | None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems except single clips that cannot be decoded or are too short."""
        return (*self.clips.problems, *(self.pairs.problems if self.pairs else ()))


def prepare(config: PrepareConfig, run: Run) -> str:
    """Collect, check and write the dataset. Returns the closing message."""
    out_dir = locations.absolute(config.output_dir or run.results_dir / "dataset")
    sources = _find(config, run, out_dir)
    fingerprint = _fingerprint(config, sources)
    if _summary_of(out_dir).get("fingerprint") == fingerprint:
        return f"{out_dir} is already prepared."
    _require_ours(out_dir)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    work = unfinished.next_to(out_dir)
    work.mkdir()
    try:
        checked = check_clips(sources.clips, config.min_frames, work / "retimed", run.status)
        report = _report(config, sources, checked)
        (run.results_dir / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
        _require_usable(config, sources, checked, run.results_dir / REPORT)
        _write_train(work / "train", checked, config.prefix)
        if sources.pairs:
            _write_test(work / "test", sources.pairs)
        shutil.rmtree(work / "retimed", ignore_errors=True)
        summary = json.dumps({**report, "fingerprint": fingerprint}, indent=1, ensure_ascii=False)
        (work / SUMMARY).write_text(summary, encoding="utf-8")
        _publish(work, out_dir)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    left_out = f"; {len(report['dropped'])} skipped, see {REPORT}" if report["dropped"] else ""
    return f"{out_dir}: {report['train']} training clips, {report['test']} test prompts{left_out}."


def _find(config: PrepareConfig, run: Run, out_dir: Path) -> Sources:
    run.status.phase(f"looking for clips in {config.source}")
    train = hub_dataset.locate(config.source)
    clips = clip_folders.read(train.folder, captions=config.caption_source, key=config.caption_key, nested=True)
    test = pairs = None
    if config.test_source:
        run.status.phase(f"looking for test prompts in {config.test_source}")
        test = hub_dataset.locate(config.test_source, (f"{config.test_folder}/*",) if config.test_folder else ())
        below = test.folder / config.test_folder
        pairs = prompt_pairs.read(below if below.is_dir() else test.folder)
    for source in filter(None, (train, test)):
        _require_apart(source.folder.resolve(), out_dir.resolve())
    return Sources(train, clips, test, pairs)


def _require_apart(source: Path, out_dir: Path) -> None:
    if not (source.is_relative_to(out_dir) or out_dir.is_relative_to(source)):
        return
    message = f"output_dir {out_dir} and the source {source} must not contain each other."
    fix = "Set output_dir to a folder outside of the source, which is never changed."
    raise RequestError.of("output_in_source", message, fix, path="output_dir")


def _fingerprint(config: PrepareConfig, sources: Sources) -> str:
    """Return a hash of everything that determines the written files."""
    media = [clip.video for clip in sources.clips.clips]
    prompts = sources.pairs.prompts if sources.pairs else ()
    media += [file for prompt in prompts if (file := prompt.image or prompt.video)]
    states = [
        (str(path), status.st_size, status.st_mtime_ns) for path in media if path.exists() for status in [path.stat()]
    ]
    texts = [(clip.name, clip.caption) for clip in sources.clips.clips]
    texts += [(prompt.name, prompt.prompt) for prompt in prompts]
    choices = {**asdict(config), "results_dir": None, "output_dir": None}
    document = json.dumps([choices, states, texts], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()


def _report(config: PrepareConfig, sources: Sources, checked: Checked) -> dict[str, Any]:
    issues = [(issue, clip_issues.ISSUE_TYPES) for issue in sources.clips.issues]
    issues += [(issue, prompt_pairs.ISSUE_TYPES) for issue in (sources.pairs.issues if sources.pairs else ())]
    blocking = [issue for issue, issue_types in issues if issue_types[issue.code].severity == "blocking"]
    dropped = [_entry(issue) for issue in (*blocking, *checked.issues)]
    return {
        "train": len(checked.usable),
        "test": len(sources.pairs.prompts) if sources.pairs else 0,
        "dropped": dropped,
        "notes": [_entry(issue) for issue, _ in issues if issue not in blocking],
        "retimed": checked.retimed,
        "source": {"name": config.source, "folder": str(sources.train.folder), "revision": sources.train.revision},
        "test_source": config.test_source and {"name": config.test_source, "revision": _revision(sources.test)},
        "prefix": config.prefix,
        "min_frames": config.min_frames,
    }


def _entry(issue: Issue) -> dict[str, str]:
    return {"item": issue.item, "code": issue.code, "detail": issue.detail}


def _revision(source: Source | None) -> str:
    return source.revision if source else ""


def _require_usable(config: PrepareConfig, sources: Sources, checked: Checked, report: Path) -> None:
    """Raise BlockedError for unusable items, unless they may be skipped and something remains."""
    problems = [*sources.problems, *checked.problems(sources.clips.folder)]
    if sources.pairs and not sources.pairs.prompts:
        raise BlockedError(sources.pairs.problems)
    if problems and not (config.skip_unusable and checked.usable):
        if checked.usable:
            message = f"{len(checked.usable)} clips can be used; {report} lists the others."
            fix = "Set skip_unusable=true to continue without the others."
            problems.append(Problem("unusable_clips", message, fix, "skip_unusable"))
        raise BlockedError(problems)


def _write_train(folder: Path, checked: Checked, prefix: str) -> None:
    for name in ("videos", "metas"):
        (folder / name).mkdir(parents=True)
    rows = []
    for clip in checked.usable:
        caption = _prefixed(clip, prefix)
        link(clip.video, folder / "videos" / f"{clip.name}.mp4")
        (folder / "metas" / f"{clip.name}.txt").write_text(caption, encoding="utf-8")
        rows.append((f"{clip.name}.mp4", caption))
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file_name", "prompt"), *rows])


def _prefixed(clip: Clip, prefix: str) -> str:
    """Return a clip's caption with the prefix before it, once."""
    caption = clip.caption or ""
    return caption if caption.startswith(prefix.strip()) else prefix + caption


def _write_test(folder: Path, pairs: PromptSet) -> None:
    folder.mkdir(parents=True)
    for prompt in pairs.prompts:
        (folder / f"{prompt.name}.txt").write_text(prompt.prompt, encoding="utf-8")
        media = prompt.image or prompt.video
        if media:
            link(media, folder / f"{prompt.name}{media.suffix.lower()}")


def _summary_of(out_dir: Path) -> dict[str, Any]:
    return read_object(out_dir / SUMMARY)


def _require_ours(out_dir: Path) -> None:
    """Raise BlockedError when the folder contains anything but an earlier dataset of this action."""
    names = {path.name for path in out_dir.iterdir()} if out_dir.is_dir() else set()
    foreign = sorted(names - {"train", "test", SUMMARY})
    if foreign or (names and "fingerprint" not in _summary_of(out_dir)):
        message = f"{out_dir} contains something other than a prepared dataset: {listed(foreign or sorted(names))}."
        raise BlockedError.of("folder_in_use", message, "Give a new output_dir, or empty it.", path="output_dir")


def _publish(work: Path, out_dir: Path) -> None:
    """Move the finished folder to its place, replacing an earlier dataset."""
    fencing.require_current()
    old = unfinished.next_to(out_dir)
    if out_dir.is_dir():
        out_dir.rename(old)
    work.rename(out_dir)
    shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    entrypoint.main(PrepareConfig, prepare, lambda config: config.results_dir)
