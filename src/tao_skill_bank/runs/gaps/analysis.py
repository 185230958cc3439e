"""Finds the wrong answers of an evaluation in one pass over its results, whatever their number."""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import locations, numbers
from tao_skill_bank.core.findings import not_checked
from tao_skill_bank.data import dataset_root
from tao_skill_bank.data.scan import path_under
from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.runs.gaps import entries, record_index, table
from tao_skill_bank.runs.gaps.entries import Batch
from tao_skill_bank.runs.gaps.readings import CONSTRAINED_WORDS, Truths
from tao_skill_bank.runs.gaps.record_index import NONE, Found, RecordIndex
from tao_skill_bank.runs.gaps.report import GapReport, Match, Tally
from tao_skill_bank.runs.gaps.table import Gap, Spool
from tao_skill_bank.runs.gaps.text import normalised
from tao_skill_bank.runs.run_directory import RunDirectory

MATCHES = ("exact", "evaluation")
MAX_SHOWN = 5  # answers that no record has


@dataclass(frozen=True)
class Sources:
    """The files of an analysis.

    Attributes:
        results: results.json.
        annotation: of the records that were evaluated.
        media: what names of videos are below.
        is_given: the annotations were named, so that results which they do not fit are an error.

    """

    results: Path
    annotation: Path | None
    media: Path | None
    is_given: bool


def analyze(
    results: Path,
    parquet: Path,
    annotation: Path | None = None,
    media: Path | None = None,
    *,
    match: Match = "exact",
    kpi_gaps: Path | None = None,
) -> GapReport:
    """Write the gaps of an evaluation and return the counts. Memory does not grow with the results, but for hashes.

    Args:
        results: run directory of an evaluation, a folder with results.json, or the file.
        parquet: file to write, with the columns COLUMNS; without gaps it has no rows.
        annotation: annotation file or dataset folder, for record ids; the run's own by default.
        media: folder that relative video names are below; the run's own by default.
        match: what a gap is: a response that differs from the truth after `.lower().strip()`, or one that the
            evaluation did not find right.
        kpi_gaps: JSON lines to write, {video_id, error_type, question, ground_truth, response}.

    Raises:
        RequestError: there is no such rule.
        BlockedError: the results are missing, malformed, have no truth or no verdicts, do not fit to the given
            annotations, or a file cannot be written.
        MissingExtraError: pyarrow is not installed.

    """
    if match not in MATCHES:
        message = f"There is no rule '{match}' by which answers match."
        raise RequestError.of("unknown_match", message, f"Use {' or '.join(MATCHES)}.", path="--match", got=match)
    sources = _sources(results, annotation, media)
    for target in (parquet, *([kpi_gaps] if kpi_gaps else [])):
        if target.is_dir() or not target.parent.is_dir():
            raise _not_written(target, "it is a folder" if target.is_dir() else "its folder does not exist")
    try:
        with tempfile.TemporaryFile(dir=parquet.parent) as file, ExitStack() as stack:
            spool = Spool(file)
            analysis = _Analysis(sources, match, spool, (parquet.parent, stack))
            analysis.run()
            spool.finish()
            written = table.write(spool, analysis.truths.readings(), parquet, kpi_gaps)
    except OSError as error:
        raise _not_written(parquet, error.strerror or str(error)) from None
    tally = analysis.tally
    return GapReport(
        tally.answers,
        spool.count,
        parquet,
        match,
        kpi_gaps,
        tally.differ,
        tally.unmatched if analysis.index else None,
        dict(written.error_types.most_common()),
        written.clusters,
        (*analysis.findings, *tally.findings(sources.results, sources.annotation, match)),
    )


class _Analysis:
    """One pass over the results: gaps go into the spool, everything else is counted."""

    def __init__(self, sources: Sources, match: Match, spool: Spool, places: tuple[Path, ExitStack]) -> None:
        self.tally, self.truths = Tally(), Truths()
        self.findings: list[Finding] = []
        self.index: RecordIndex | None = None
        self._sources, self._match, self._spool = sources, match, spool
        self._folder, self._stack = places
        self._root = str(sources.media.absolute()) if sources.media else ""
        self._below = self._root  # empty where videos are in an archive, below which there are no paths

    def run(self) -> None:
        """Read all results."""
        stream = entries.batches(self._sources.results)
        first = next(stream)
        self.index = self._opened(first)
        for batch in chain([first], stream):
            self._take(batch)
        if self.index and self.tally.unmatched == self.tally.answers:
            self._refuse_unmatched()

    def _opened(self, first: Batch) -> RecordIndex | None:
        """Return the index of the annotations; by id where the first results name records instead of videos."""
        annotation = self._sources.annotation
        if annotation is None:
            return None
        self._root = self._root or dataset_root.media_in(str(annotation.absolute().parent))
        self._below = "" if locations.is_archive(self._root) else self._root
        try:
            return self._index(annotation, first)
        except BlockedError as error:
            if self._sources.is_given:
                raise
            message = f"Record ids are not looked up: {error}"
            fix = "Give the annotations of this evaluation with --annotations."
            self.findings.append(not_checked("annotations_unread", message, fix, str(annotation)))
            return None

    def _index(self, annotation: Path, first: Batch) -> RecordIndex:
        with ExitStack() as by_video, ExitStack() as by_id:
            index = by_video.enter_context(record_index.opened(annotation, self._root, "video", self._folder))
            if index.has_any(first.videos, first.questions):
                self._stack.push(by_video.pop_all())
                return index
            other = by_id.enter_context(record_index.opened(annotation, self._root, "id", self._folder))
            is_by_id = other.has_any(first.videos, first.questions)
            self._stack.push((by_id if is_by_id else by_video).pop_all())
            return other if is_by_id else index

    def _refuse_unmatched(self) -> None:
        """Refuse results none of which is of the given annotations."""
        if not self._sources.is_given:
            return
        first, annotation = self.tally.first_unmatched[0], self._sources.annotation
        message = f"No answer of {self._sources.results} has the video and question of a record of {annotation}; the "
        message += f"first is {first}."
        fix = (
            f"Give the annotations that were evaluated, and with --media the folder of their videos (now {self._root})."
        )
        raise BlockedError.of("answers_unmatched", message, fix, path=str(annotation))

    def _take(self, batch: Batch) -> None:
        tally = self.tally
        self.truths.add(batch.truths)
        tally.answers += len(batch.entries)
        tally.long += sum(len(text) > 2 * CONSTRAINED_WORDS and _is_long(text) for text in batch.responses)
        wrong = self._wrong(batch)
        found = self.index.find(batch.videos, batch.questions) if self.index else None
        if found is not None and (found == NONE).any():
            self._count_unmatched(batch, [place for place, record in enumerate(found) if record == NONE])
        records = found.tolist() if found is not None else None
        for place, is_wrong in enumerate(wrong):
            if is_wrong:
                self._spool.add(self._gap(batch, place, NONE if records is None else records[place]))

    def _wrong(self, batch: Batch) -> list[bool]:
        """Return which answers of a batch are gaps, and count those on which the rules differ."""
        exact = [
            said != truth and normalised(said) != normalised(truth)
            for said, truth in zip(batch.responses, batch.truths, strict=True)
        ]
        verdicts, tally = batch.verdicts, self.tally
        unjudged = verdicts.count(None)
        tally.judged += len(verdicts) - unjudged
        if self._match == "evaluation" and unjudged:
            index = batch.start + verdicts.index(None)
            message = f"Entry {index} of {self._sources.results} has no verdict of its evaluation."
            fix = "Use --match exact, or evaluate with this release, which writes verdicts."
            raise BlockedError.of("verdicts_missing", message, fix, path=str(self._sources.results))
        for is_gap, verdict in zip(exact, verdicts, strict=True):
            if is_gap == (verdict == "right"):
                tally.right_by_evaluation += is_gap
                tally.right_by_exact += not is_gap and verdict is not None
        return exact if self._match == "exact" else [verdict != "right" for verdict in verdicts]

    def _count_unmatched(self, batch: Batch, places: list[int]) -> None:
        tally = self.tally
        tally.unmatched += len(places)
        for place in places[: MAX_SHOWN - len(tally.first_unmatched)]:
            tally.first_unmatched.append(f"{batch.videos[place]} ({batch.questions[place][:80]!r})")

    def _gap(self, batch: Batch, place: int, position: int) -> Gap:
        entry, index = batch.entries[place], self.index
        name, record_id = batch.videos[place], entry.get("id")
        record = Found(record_id if isinstance(record_id, str) else "", "")
        if index and position != NONE:
            record = index.record(position)
        video = record.video if index and index.by == "id" and record.video else name
        video = path_under(self._below, video) if self._below else video
        self.tally.relative += not video.startswith("/")
        read_as = entry.get("read_as")
        return Gap(
            video,
            batch.questions[place],
            batch.truths[place],
            batch.responses[place],
            record.record_id,
            batch.verdicts[place],
            read_as if isinstance(read_as, str) else None,
            entry.get("hit_max_tokens") is True,
            numbers.finite(entry.get("confidence")),
        )


def _sources(results: Path, annotation: Path | None, media: Path | None) -> Sources:
    """Return the files that are read: those that are given, else those that the plan of the run names."""
    is_file = results.is_file()
    planned = _dataset_of(results.parent if is_file else results)
    if annotation is not None and annotation.is_dir():
        media = media or Path(dataset_root.media_in(str(annotation)))
        annotation = Path(dataset_root.annotations_in(str(annotation)))
    return Sources(
        results if is_file else results / entries.RESULTS,
        annotation or _optional_path(planned.get("annotation_path")),
        media or (None if annotation else _optional_path(planned.get("media_path"))),
        annotation is not None,
    )


def _dataset_of(results_dir: Path) -> dict[str, Any]:
    """Return the paths of the input that the plan of the run evaluates on, {annotation_path, media_path} of records."""
    inputs = RunDirectory(results_dir).plan_document().get("job", {}).get("workload", {}).get("inputs")
    given = [entry for entry in inputs if isinstance(entry, dict)] if isinstance(inputs, list) else []
    named = (entry.get("paths") for entry in given if entry.get("role") == "eval")
    return next((paths for paths in named if isinstance(paths, dict)), {})


def _optional_path(name: Any) -> Path | None:
    return Path(name) if isinstance(name, str) and not locations.is_uri(name) else None


def _not_written(path: Path, why: str) -> BlockedError:
    fix = "Give a path in an existing folder that can be written."
    return BlockedError.of("parquet_not_written", f"{path} cannot be written: {why}.", fix, path=str(path))


def _is_long(text: str) -> bool:
    return len(text.split(maxsplit=CONSTRAINED_WORDS)) > CONSTRAINED_WORDS
