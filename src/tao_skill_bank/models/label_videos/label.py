"""Labels clips: `python -m tao_skill_bank.models.label_videos.label --config F`. No torch, no GPU.

Each clip's labels are on the disk before the next result is awaited: a run that ended for any reason is continued by
another one in the same run directory, which asks about no clip twice.
"""

import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.core import subset
from tao_skill_bank.errors import BlockedError, JobFailedError, MissingExtraError, RequestError, TaoSkillsError
from tao_skill_bank.models.label_videos import clip_pool, in_flight, prompt_files, records, server, summary
from tao_skill_bank.models.label_videos.clip_pool import ClipPool, PoolClip
from tao_skill_bank.models.label_videos.config import LabelConfig
from tao_skill_bank.models.label_videos.label_store import ClipFile, ClipLabels, Failure, LabelStore
from tao_skill_bank.models.label_videos.labeller import Labeller
from tao_skill_bank.models.label_videos.replies import UnusableReplyError
from tao_skill_bank.models.label_videos.server import Conversation, Server
from tao_skill_bank.runs.run_directory import masked_json, write_whole
from tao_skill_bank.training import plain_program
from tao_skill_bank.training.plain_program import PlainRun

ANNOTATIONS, CAPTIONS, FAILED, MEDIA = "annotations.json", "captions.jsonl", "failed_clips.jsonl", "media"
EARLY_FAILURES = 10  # so many clips must have failed before a run that will fail ends early
REFUSED = "endpoint_refused"  # the server takes this request amiss, perhaps not the next one
UNUSED = ("clips", "media_dir", "endpoint", "prompts", "domain", "pilot", "max_failed_share", "results_dir")


@dataclass(frozen=True)
class Work:
    """A clip with its content."""

    clip: PoolClip
    file: ClipFile


@dataclass(frozen=True)
class Broken:
    """A clip that cannot be read, with the reason."""

    clip: PoolClip
    failure: Failure


def label(config: LabelConfig, run: PlainRun) -> str:
    """Label the clips of a spec and write what trainings, people and reports read. Returns the closing message."""
    connected = server.connect(config)
    prompts = prompt_files.load(config.domain, Path(config.prompts) if config.prompts else None)
    run.status.phase("looking for clips")
    media = config.media_dir or clip_pool.usual_media(config.clips)
    pool = clip_pool.read(Path(config.clips), Path(media))
    chosen = _chosen(pool, config.pilot)
    store = LabelStore.read(run.results_dir, _settings(config, prompts.digest, connected))
    found = [_work(clip, store) for clip in chosen]
    work = [each for each in found if isinstance(each, Work)]
    broken = [each for each in found if isinstance(each, Broken)]
    _Run(config, Labeller(config, prompts), connected, store, run).label(work, len(broken))
    return _written(config, run, pool, store, work, broken)


def _chosen(pool: ClipPool, pilot: int | None) -> list[PoolClip]:
    if pilot is None:
        return list(pool.clips)
    return [pool.clips[position] for position in subset.chosen([clip.name for clip in pool.clips], pilot)]


def _settings(config: LabelConfig, prompts: str, connected: Server) -> str:
    """Return the digest of what labels depend on, but for their clip."""
    kept = {name: value for name, value in asdict(config).items() if name not in UNUSED}
    kept["second_pass"] = {**kept["second_pass"], "min_agreement": 0}
    document = json.dumps([kept, prompts, connected.first.model, connected.second.model], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()


def _work(clip: PoolClip, store: LabelStore) -> Work | Broken:
    try:
        return Work(clip, store.file_of(clip))
    except OSError as error:
        return Broken(clip, Failure("missing_media", error.strerror or "it cannot be read"))


@dataclass(frozen=True)
class _Run:
    """Labels the clips that have no labels yet."""

    config: LabelConfig
    labeller: Labeller
    server: Server
    store: LabelStore
    run: PlainRun

    def label(self, work: Sequence[Work], num_broken: int) -> None:
        """Ask about each clip once, and keep what was said.

        Raises:
            JobFailedError: more clips failed than may.
            TaoSkillsError: the server is gone, or refuses every request; finished clips are kept.

        """
        todo = {each.file.sha256: each for each in work if each.file.sha256 not in self.store.labels}
        total, num_failed = len({each.file.sha256 for each in work}), num_broken
        done = total - len(todo)
        stopped: list[BaseException] = []
        waiting = itertools.takewhile(lambda _: not stopped, todo.values())
        self.run.status.progress(done, total, f"{done} of {total} clips")
        for outcome in in_flight.run(self._one, waiting, self.config.endpoint.concurrency):
            if outcome.result is None:
                assert outcome.error is not None
                stopped.append(outcome.error)  # no new requests; those in flight are waited for
                continue
            self.store.add(outcome.result)
            done, num_failed = done + 1, num_failed + (outcome.result.failure is not None)
            self.run.status.progress(done, total, f"{done} of {total} clips")
            if num_failed > max(EARLY_FAILURES, self.config.max_failed_share * (total + num_broken)):
                stopped.append(_too_many(num_failed, total + num_broken, self.config, outcome.result.failure))
        if stopped:
            raise stopped[0]

    def _one(self, work: Work) -> ClipLabels:
        """Return the line of a clip: its labels, or why it has none. Raises what would stop every other clip too."""
        began, conversation, said, failure = time.monotonic(), Conversation(self.server), None, None
        try:
            said = self.labeller.label(work.clip, conversation)
        except UnusableReplyError as error:
            failure = Failure("reply_unusable", str(error))
        except TaoSkillsError as error:
            if not _is_of_clip(error):
                raise
            failure = Failure(error.problems[0].code, error.problems[0].message)
        seconds = round(time.monotonic() - began, 3)
        if said is None:
            assert failure is not None
            return ClipLabels(work.file, self.store.settings, conversation.tokens, seconds=seconds, failure=failure)
        return ClipLabels(
            work.file,
            self.store.settings,
            conversation.tokens,
            said.video_fps,
            seconds,
            said.captions,
            said.description,
            said.answers,
        )


def _is_of_clip(error: TaoSkillsError) -> bool:
    """Return whether an error says something of one clip: it cannot be decoded, or the server refuses its frames."""
    if isinstance(error, RequestError):
        return error.problems[0].code == REFUSED
    is_decoding = isinstance(error, BlockedError) and not isinstance(error, MissingExtraError)
    return is_decoding and error.exit_code == BlockedError.exit_code


def _written(
    config: LabelConfig,
    run: PlainRun,
    pool: ClipPool,
    store: LabelStore,
    work: Sequence[Work],
    broken: Sequence[Broken],
) -> str:
    """Write every output; returns the closing message. Raises JobFailedError where too many clips failed."""
    labelled = [(each.clip.name, store.labels[each.file.sha256]) for each in work if each.file.sha256 in store.labels]
    answers = [answer for _, labels in labelled for answer in labels.answers]
    kept = [pair for name, labels in labelled for pair in records.of_clip(name, labels, _least(config))]
    failed = [*_failures(store, work), *((each.clip.name, each.failure) for each in broken)]
    outcome = summary.Outcome(
        num_clips=len(pool.clips),
        num_chosen=len(work) + len(broken),
        num_labelled=len(labelled),
        num_failed=len(failed),
        spent=store.spent,
        answers=answers,
        kept=[answered for answered, _ in kept],
    )
    folder = run.results_dir
    _link(folder / MEDIA, pool.media)
    write_whole(folder / ANNOTATIONS, records.text_of(record for _, record in kept))
    captions = (records.captions_of(name, labels) for name, labels in labelled)
    write_whole(folder / CAPTIONS, records.lines_of(line for line in captions if line is not None))
    rows = ({"video": name, "code": why.code, "reason": why.reason} for name, why in failed)
    write_whole(folder / FAILED, records.lines_of(rows))
    write_whole(folder / "results.json", masked_json(summary.results(outcome)))
    findings = list(_findings(config, outcome, folder))
    write_whole(folder / "metrics_summary.json", masked_json(summary.summary(outcome, config.endpoint, findings)))
    if len(failed) > config.max_failed_share * outcome.num_chosen:
        raise _too_many(len(failed), outcome.num_chosen, config, failed[0][1])
    message = f"{outcome.num_labelled} of {outcome.num_clips} clips labelled, {len(kept)} records"
    message += f", {len(failed)} clips failed" if failed else ""
    return ". ".join([message, *(finding["message"].rstrip(".") for finding in findings)]) + "."


def _least(config: LabelConfig) -> float:
    return config.second_pass.min_agreement if config.second_pass.enable else 0.0


def _failures(store: LabelStore, work: Sequence[Work]) -> Iterator[tuple[str, Failure]]:
    for each in work:
        line = store.failures.get(each.file.sha256)
        if line is not None and line.failure is not None:
            yield each.clip.name, line.failure


def _findings(config: LabelConfig, outcome: summary.Outcome, folder: Path) -> Iterator[dict[str, Any]]:
    waiting = outcome.num_clips - outcome.num_chosen
    if waiting:
        message = f"This was a pilot of {outcome.num_chosen} clips: {waiting} wait."
        fix = f"Read {folder / ANNOTATIONS}, then run it again with --set pilot=null --results-dir {folder}"
        yield {"code": "pilot", "severity": "info", "message": f"{message} {fix}", "fix": fix, "path": "pilot"}
    if "questions" in config.steps and outcome.num_labelled and not outcome.kept:
        message, fix = "No record was kept.", "Lower second_pass.min_agreement, or change the questions."
        yield {"code": "no_records", "severity": "warning", "message": message, "fix": fix, "path": ANNOTATIONS}


def _too_many(count: int, total: int, config: LabelConfig, example: Failure | None) -> JobFailedError:
    reason = f" The last: {example.reason}" if example else ""
    message = (
        f"{count} of {total} clips could not be labelled; max_failed_share is {config.max_failed_share:g}.{reason}"
    )
    fix = f"See {FAILED} and labels.jsonl; change the prompts, the model or max_tokens, or raise max_failed_share. "
    fix += "Labels of the other clips are kept."
    return JobFailedError.of("too_many_failed_clips", message, fix, path="max_failed_share")


def _link(link: Path, target: Path) -> None:
    """Let a name in the run directory lead to the folder of the clips, so that both stay together."""
    if link.is_symlink():
        link.unlink()
    if not link.exists():
        link.symlink_to(target.absolute(), target_is_directory=True)


if __name__ == "__main__":
    plain_program.main(LabelConfig, label, lambda config: config.results_dir)
