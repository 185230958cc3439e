"""What records answer: the classes of closed answers, how often each occurs, and how long sequences become."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import warning
from tao_skill_bank.data import media_probe
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.headers import Look, MediaFile
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records import reader
from tao_skill_bank.data.records.values import Media, MediaKind
from tao_skill_bank.data.scan import Scan
from tao_skill_bank.errors import TaoSkillsError

MAX_CLASSES = 50  # different answers beyond which they are open ones
MAX_MEASURED = 20_000  # records whose tokens are predicted, evenly spread
IMBALANCE = 10  # times as many of the largest class as of the smallest

Tokens = Callable[[Mapping[str, Any], Sequence[MediaProbe]], int]


@dataclass
class Answers:
    """The answers of a split.

    Attributes:
        counts: the last answer of every record; empty where answers are open.
        num_different: different answers, counted up to one beyond MAX_CLASSES.
        tokens: predicted lengths of sequences.

    """

    counts: Counter[str] = field(default_factory=Counter)
    num_different: int = 0
    tokens: list[int] = field(default_factory=list)


def read(scan: Scan, found: Look, tokens: Tokens | None) -> Answers:
    """Read the answers of all records, and predict the tokens of some; `found` has the headers of their media."""
    answers = Answers()
    stride = max(1, scan.num_records // MAX_MEASURED)
    for index, raw in enumerate(_records(scan)):
        record, _ = reader.examine(raw, scan.rules)
        if record.answers and answers.num_different <= MAX_CLASSES:
            answers.counts[record.turns[record.answers[-1]].text.strip()] += 1
            answers.num_different = len(answers.counts)
        if tokens and index % stride == 0:
            probes = [_probe(scan, media, found) for media in record.media]
            length = _length(tokens, raw, [probe for probe in probes if probe]) if all(probes) else None
            answers.tokens += [length] if length is not None else []
    if answers.num_different > MAX_CLASSES:
        answers.counts = Counter()
    return answers


def imbalance(where: str, counts: Mapping[str, int]) -> list[Finding]:
    """Return a warning where the largest class is many times as large as the smallest."""
    if len(counts) < 2:
        return []
    most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    if counts[most] < IMBALANCE * counts[least]:
        return []
    message = f"Classes of {where} are unbalanced: {counts[most]} of {most!r} and {counts[least]} of {least!r}."
    fix = "Add data of the rare ones, and judge by balanced accuracy: a model that always answers one looks good."
    return [warning("classes_unbalanced", message, fix, where, largest=counts[most], smallest=counts[least])]


def _records(scan: Scan) -> Iterator[Any]:
    if scan.failure:
        return
    yield from (record for record in stream_records(Path(scan.annotation_path)) if isinstance(record, dict))


def _probe(scan: Scan, media: Media, found: Look) -> MediaProbe | None:
    """Return what the header of a medium says; of a list of frames that of its first one, with their number."""
    kind: MediaKind = "image" if media.frames else media.kind
    header = found.headers.get(MediaFile(kind, scan.path_of(media.name)))
    if header is None:
        return None
    probe = media_probe.of_header(header)
    if not media.frames:
        return probe
    rate, count = media.rate or 1.0, len(media.frames)
    return replace(probe, num_frames=count, container_fps=rate, duration_seconds=count / rate)


def _length(tokens: Tokens, raw: Mapping[str, Any], probes: Sequence[MediaProbe]) -> int | None:
    """Return the predicted tokens; None where the sampling does not fit the clip."""
    try:
        return tokens(raw, probes)
    except (TaoSkillsError, ValueError, ArithmeticError, LookupError):
        return None
