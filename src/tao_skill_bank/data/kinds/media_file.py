"""One video or image that the spec names itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tao_skill_bank.contracts import Finding, Input, contract
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import blocking, not_checked
from tao_skill_bank.data import sampled_media
from tao_skill_bank.data.kinds import Context, Kind, Place, options_of
from tao_skill_bank.data.media_facts import MediaFacts
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.data.sampled_media import Decoded, Probed

WHERE = "the spec"  # that names the files


@contract
class Options:
    """What the file is read as."""

    media: Literal["video", "image"] = "video"


@dataclass(frozen=True)
class SeenFile:
    """The file, decoded, or why it cannot be used."""

    input: Input
    decoded: Decoded
    failure: Finding | None = None
    num_media: int = 0
    noun: str = "files"

    @property
    def num_usable(self) -> int:
        return len(self.decoded.records)

    @property
    def records(self) -> Sequence[Probed]:
        return self.decoded.records


def look(given: Input, context: Context) -> SeenFile:
    """Decode the file where it is here."""
    name, kind = given.paths["path"], options_of(Options, given).media
    if locations.is_uri(name):
        fix = f"To have it checked first: tao-skills data stage {name} FILE, then name the file."
        failure = not_checked("media_remote", f"{name} is not on this machine.", fix, name)
    elif not Path(name).is_file():
        message = f"Media file {name} does not exist."
        failure = blocking("media_missing", message, "Give the path of an existing file.", name)
    else:
        file = sampled_media.File(kind, Path(name))
        outcomes, problems = sampled_media.decode_files({file: ()}, context.pool, context.decode_seconds)
        records = [Probed(None, {kind: name}, (Media(kind, name),), (outcome,)) for outcome in outcomes.values()]
        return SeenFile(given, Decoded(tuple(records), tuple(problems)))
    return SeenFile(given, Decoded((), (failure,)), failure)


def check(seen: Sequence[SeenFile], context: Context) -> list[Finding]:
    """Return the findings of all files together."""
    records = tuple(record for each in seen for record in each.decoded.records)
    findings = tuple(finding for each in seen for finding in each.decoded.findings)
    return sampled_media.check(WHERE, Decoded(records, findings), MediaFacts(context.workload.num_frames))


KIND = Kind(title="media", options=Options, paths={"path": Place()}, look=look, check=check)
