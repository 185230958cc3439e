"""Looks at all splits of a dataset with the kinds that preflight looks with, and says what is in them."""

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.data import headers, kinds
from tao_skill_bank.data.check import answers, contents, detect, distributions
from tao_skill_bank.data.check.answers import Answers, Tokens
from tao_skill_bank.data.check.detect import Part
from tao_skill_bank.data.check.distributions import Histogram
from tao_skill_bank.data.headers import Budget, Look, MediaFile
from tao_skill_bank.data.kinds import Context, Seen
from tao_skill_bank.errors import MissingExtraError

NUM_WORKERS = 4
NO_ANSWERS = Answers()


@dataclass(frozen=True)
class Reading:
    """How a dataset is read without a request.

    Attributes:
        detection: options of the kinds, and the folder of media.
        required_fields: what every annotation record must have.
        tokens: predicts the tokens of a record, where a model does.
        tokens_by: whose prediction it is.
        no_tokens: why there is none.

    """

    detection: detect.Options = field(default_factory=detect.Options)
    required_fields: tuple[str, ...] = ()
    tokens: Tokens | None = None
    tokens_by: str = ""
    no_tokens: str = "no model here predicts them"


@dataclass(frozen=True)
class Split:
    """What was found of one split, or of all data.

    Attributes:
        path: the folder or file.
        noun: what `num_usable` counts.
        seconds: of all clips together.
        classes: answers or classes and how often each occurs.

    """

    name: str
    path: str
    noun: str
    num_usable: int
    num_media: int
    num_broken: int
    seconds: float
    classes: Counter[str]


@dataclass(frozen=True)
class Survey:
    """What a dataset is and what is in it."""

    path: str
    kind: str
    splits: tuple[Split, ...]
    histograms: tuple[Histogram, ...]
    findings: tuple[Finding, ...]

    @property
    def is_usable(self) -> bool:
        """Whether nothing blocks."""
        return all(finding.severity != "blocking" for finding in self.findings)


@dataclass(frozen=True)
class _Seen:
    """A split as its kind saw it, the headers of its media, and its answers."""

    part: Part
    seen: Seen
    found: Look
    answers: Answers


def look(path: Path, kind: str | None = None, reading: Reading | None = None) -> Survey:
    """Look at a dataset. Raises BlockedError or RequestError like `detect.parts`."""
    reading = reading or Reading()
    path = Path(path).absolute()
    parts = detect.parts(path, kind, reading.detection)
    name = parts[0].input.kind
    found: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="tao-check-") as scratch, ThreadPoolExecutor(NUM_WORKERS) as pool:
        fields = reading.required_fields if name == "annotations" else ()
        context = Context(pool, Path(scratch), required_fields=fields, header_budget=Budget(math.inf))
        every = [_look(part, context, reading) for part in parts]
        for each in every:
            found += kinds.load(each.part.input.kind).check([each.seen], context)
    groups = contents.equal_files({each.part.name: [file.path for file in _all(each)] for each in every})
    splits = tuple(_split(each) for each in every)
    found += contents.findings(str(path), groups)
    found += [finding for split in splits for finding in answers.imbalance(split.path, split.classes)]
    return Survey(str(path), name, splits, tuple(_histograms(every, splits, reading)), tuple(_once(found)))


def _look(part: Part, context: Context, reading: Reading) -> _Seen:
    seen = kinds.load(part.input.kind).look(part.input, context)
    try:
        found = headers.look(FILES[part.input.kind](seen), context.pool, context.header_budget)
    except MissingExtraError:
        found = Look()  # the kind's findings say so
    told = NO_ANSWERS
    if part.input.kind == "annotations" and not seen.failure:
        told = answers.read(getattr(seen, "scan"), found, reading.tokens)  # noqa: B009 - of this kind alone
    return _Seen(part, seen, found, told)


def _split(each: _Seen) -> Split:
    clips = [header for file, header in each.found.headers.items() if file.kind == "video"]
    classes = each.answers.counts or Counter(getattr(each.seen, "usable", {}))
    return Split(
        name=each.part.name,
        path=kinds.first_path(each.part.input),
        noun=each.seen.noun,
        num_usable=each.seen.num_usable,
        num_media=len(_all(each)),
        num_broken=len(each.found.broken),
        seconds=sum(header.duration_seconds for header in clips),
        classes=classes,
    )


def _histograms(every: Sequence[_Seen], splits: Sequence[Split], reading: Reading) -> list[Histogram]:
    shown = [(file, header) for each in every for file, header in each.found.headers.items()]
    clips = [header for file, header in shown if file.kind == "video"]
    sizes = [f"{header.width}x{header.height}" for _, header in shown]
    tokens = [length for each in every for length in each.answers.tokens]
    is_annotated = every[0].part.input.kind == "annotations"
    no_tokens = ("no record's media are known" if reading.tokens else reading.no_tokens) if is_annotated else ""
    counts: Counter[str] = Counter()
    for split in splits:
        counts.update(split.classes)
    no_classes = "answers are open: there are too many different ones" if is_annotated else "this kind has none"
    return [
        distributions.of_numbers("Duration", "s", [header.duration_seconds for header in clips], "there are no clips"),
        distributions.of_names("Size", sizes, "there are no media"),
        distributions.of_numbers("Rate", "frames/s", [header.rate for header in clips], "there are no clips"),
        distributions.of_numbers("Frames", "", [header.num_frames for header in clips], "there are no clips"),
        distributions.of_numbers("Tokens", reading.tokens_by, tokens, no_tokens or "only annotations have sequences"),
        distributions.of_names("Classes", counts, no_classes),
    ]


def _all(each: _Seen) -> list[MediaFile]:
    return [*each.found.headers, *each.found.broken]


def _once(found: Sequence[Finding]) -> list[Finding]:
    return list({(finding.code, finding.message): finding for finding in found}.values())


def _named(seen: Any) -> list[MediaFile]:
    return [*seen.headers.found.headers, *seen.headers.found.broken] if seen.headers else []


def _videos(seen: Any) -> list[MediaFile]:
    return [MediaFile("video", str(video)) for video in seen.videos]


def _prompted(seen: Any) -> list[MediaFile]:
    prompts = seen.found.prompts
    pictures = [MediaFile("image", str(prompt.image)) for prompt in prompts if prompt.image]
    return pictures + [MediaFile("video", str(prompt.video)) for prompt in prompts if prompt.video]


FILES: dict[str, Callable[[Any], list[MediaFile]]] = {
    "annotations": _named,
    "captioned_clips": _videos,
    "class_folders": _videos,
    "clips": _videos,
    "prompt_pairs": _prompted,
}
