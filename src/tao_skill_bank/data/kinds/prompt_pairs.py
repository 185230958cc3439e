"""Prompts to generate from: a folder of texts with a picture or clip next to each, or a .jsonl file of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tao_skill_bank.contracts import Finding, Input, contract
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import MAX_LISTED, blocking, info, listed, not_checked
from tao_skill_bank.data import header_findings, headers, probing, prompt_pairs, text_length
from tao_skill_bank.data.headers import MediaFile
from tao_skill_bank.data.kinds import Context, Kind, Place, options_of
from tao_skill_bank.data.media.refusals import reason_in
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.prompt_pairs import PromptSet
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.errors import BlockedError, MissingExtraError

DECODE_SECONDS = 0.5  # of a clip; a picture takes less
MAX_DECODED = 128  # pictures, and as many clips; of the others the headers are read


@contract
class Options:
    """How prompts are read: `text_tokens` are those that the text encoder takes of one, 0 for any number."""

    text_tokens: int = 0


@dataclass(frozen=True)
class SeenPrompts:
    """The prompts.

    Attributes:
        outcomes: the probe of pictures and clips that were decoded, and why others cannot be used.
        unseen: findings on pictures and clips that were not looked at.

    """

    input: Input
    found: PromptSet
    failure: Finding | None = None
    outcomes: Mapping[Path, MediaProbe | BlockedError] = field(default_factory=dict)
    unseen: Sequence[Finding] = ()
    num_media: int = 0
    noun: str = "prompts"
    records: Sequence[Probed] = ()

    @property
    def num_usable(self) -> int:
        return len(self.found.prompts)


def look(given: Input, context: Context) -> SeenPrompts:
    """Read the prompts where they are here."""
    source = given.paths["path"]
    if locations.is_uri(source):
        message = f"Prompts {source} are not on this machine."
        failure = not_checked("prompts_remote", message, "Stage them locally to have them checked.", source)
        return SeenPrompts(given, PromptSet(Path(source)), failure)
    found = prompt_pairs.read(Path(source))
    pictures = [prompt.image for prompt in found.prompts if prompt.image]
    clips = [prompt.video for prompt in found.prompts if prompt.video]
    try:
        return SeenPrompts(given, found, None, *_outcomes(source, pictures, clips, context))
    except MissingExtraError as error:
        problem = error.problems[0]
        message = f"Pictures and clips were not decoded. {problem.message}"
        return SeenPrompts(given, found, unseen=[not_checked("media_not_decoded", message, problem.fix, source)])


def _outcomes(
    source: str, pictures: Sequence[Path], clips: Sequence[Path], context: Context
) -> tuple[dict[Path, MediaProbe | BlockedError], list[Finding]]:
    """Read the headers of pictures and clips and decode the first ones. Raises MissingExtraError."""
    files = [MediaFile("image", str(path)) for path in pictures] + [MediaFile("video", str(path)) for path in clips]
    seen = headers.look(files, context.pool, context.header_budget)
    outcomes: dict[Path, MediaProbe | BlockedError] = {
        Path(file.path): error for file, error in header_findings.errors(seen).items()
    }
    how = (context.pool, context.decode_seconds, DECODE_SECONDS)
    outcomes |= probing.probe_all(_some(pictures, outcomes), *how, kind="image")
    outcomes |= probing.probe_all(_some(clips, outcomes), *how)
    return outcomes, header_findings.left(source, seen, context.header_budget.seconds)


def _some(files: Sequence[Path], broken: Mapping[Path, object]) -> list[Path]:
    return [path for path in dict.fromkeys(files) if path not in broken][:MAX_DECODED]


def check(seen: Sequence[SeenPrompts], _: Context) -> list[Finding]:
    """Return the findings of every set of prompts."""
    return [finding for each in seen for finding in _check_one(each)]


def _check_one(seen: SeenPrompts) -> list[Finding]:
    if seen.failure:
        return [seen.failure]
    source, prompts = seen.input.paths["path"], seen.found.prompts
    findings = seen.found.findings
    if not prompts:
        return findings
    texts = [(prompt.name, prompt.prompt) for prompt in prompts]
    findings += text_length.check(source, "prompts", texts, options_of(Options, seen.input).text_tokens)
    findings += [*seen.unseen, *_broken(source, seen.outcomes)]
    pictures = sum(prompt.image is not None for prompt in prompts)
    clips = sum(prompt.video is not None for prompt in prompts)
    message = f"{source} holds {len(prompts)} prompts, {pictures} with a picture and {clips} with a clip."
    return [*findings, info("prompts", message, source, prompts=len(prompts), pictures=pictures, clips=clips)]


def _broken(source: str, outcomes: Mapping[Path, MediaProbe | BlockedError]) -> list[Finding]:
    broken = {
        path: reason_in(outcome) if isinstance(outcome, BlockedError) else "it is cut short or damaged"
        for path, outcome in outcomes.items()
        if isinstance(outcome, BlockedError) or not outcome.is_whole
    }
    if not broken:
        return []
    reasons = [f"{path.name} ({reason})" for path, reason in broken.items()]
    message = f"{source}: {len(broken)} pictures or clips cannot be decoded: {listed(reasons)}."
    files = [path.name for path in broken][:MAX_LISTED]
    return [blocking("prompt_media_unreadable", message, "Replace them.", source, files=files, count=len(broken))]


KIND = Kind(title="prompts", options=Options, paths={"path": Place("folder")}, look=look, check=check)
