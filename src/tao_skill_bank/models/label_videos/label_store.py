"""What is known of each clip, in labels.jsonl: a line per attempt, on the disk before the next clip is asked about.

A line is found again by the content of its clip and the digest of the settings that its labels depend on: a clip that
was moved is not asked about again, one that was replaced is.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tao_skill_bank.contracts import OMITTED_IF_EMPTY, contract, from_json, to_json
from tao_skill_bank.core import durable_lines
from tao_skill_bank.errors import RequestError
from tao_skill_bank.models.label_videos.answers import Answered, Captions
from tao_skill_bank.models.label_videos.clip_pool import PoolClip
from tao_skill_bank.runs import fencing
from tao_skill_bank.runs.run_directory import json_lines

FILE = "labels.jsonl"
BLOCK_BYTES = 1 << 20


@contract
class Failure:
    """Why a clip has no labels."""

    code: str
    reason: str


@contract
class Tokens:
    """What the server counted for a clip, requests whose replies could not be used included."""

    requests: int = 0
    prompt: int = 0
    completion: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.requests + other.requests, self.prompt + other.prompt, self.completion + other.completion)


@contract
class ClipFile:
    """The file of a clip when its content was hashed."""

    name: str
    bytes: int
    mtime_ns: int
    sha256: str


@contract
class ClipLabels:
    """A line: what a model said of a clip, or why it has no labels.

    Attributes:
        settings: digest of everything that the labels depend on but the clip.
        video_fps: the clip's own average rate.
        seconds: from its first frame to its last reply.

    """

    clip: ClipFile
    settings: str
    tokens: Tokens = field(default_factory=Tokens)
    video_fps: float = 0.0
    seconds: float = 0.0
    captions: Annotated[Captions | None, OMITTED_IF_EMPTY] = None
    description: Annotated[str, OMITTED_IF_EMPTY] = ""
    answers: tuple[Answered, ...] = ()
    failure: Annotated[Failure | None, OMITTED_IF_EMPTY] = None


@dataclass
class LabelStore:
    """The lines of one run directory; `settings` is the digest of the present run."""

    folder: Path
    settings: str
    labels: dict[str, ClipLabels] = field(default_factory=dict)
    failures: dict[str, ClipLabels] = field(default_factory=dict)
    spent: Tokens = field(default_factory=Tokens)
    num_unread: int = 0
    _files: dict[tuple[str, int, int], str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, settings: str) -> "LabelStore":
        """Return the store of a run directory; a line that a kill tore is counted and ignored."""
        store = cls(folder, settings)
        for document in json_lines(folder / FILE):
            try:
                store._take(from_json(ClipLabels, document, FILE))
            except RequestError:
                store.num_unread += 1
        return store

    def file_of(self, clip: PoolClip) -> ClipFile:
        """Return a clip's file with its hash, which is remembered while size and time of the file stay. OSError."""
        status = clip.path.stat()
        key = (clip.name, status.st_size, status.st_mtime_ns)
        digest = self._files.get(key) or sha256_of(clip.path)
        return ClipFile(*key, digest)

    def add(self, line: ClipLabels) -> None:
        """Append a line. Raises OSError, and JobFailedError where another process writes this run directory."""
        fencing.require_current()
        durable_lines.append(self.folder / FILE, [to_json(line)])
        self._take(line)

    def _take(self, line: ClipLabels) -> None:
        self.spent += line.tokens
        self._files[line.clip.name, line.clip.bytes, line.clip.mtime_ns] = line.clip.sha256
        if line.settings == self.settings:
            if line.failure is not None:
                self.failures[line.clip.sha256] = line
            else:
                self.labels[line.clip.sha256] = line
                self.failures.pop(line.clip.sha256, None)


def sha256_of(path: Path) -> str:
    """Return the hash of a file's content. Raises OSError."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            found.update(block)
    return found.hexdigest()
