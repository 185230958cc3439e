"""What a conversion is asked for, and what a source format yields: records as they are written, or episodes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Target = Literal["llava", "clips"]
TARGETS: tuple[Target, ...] = ("llava", "clips")


@dataclass(frozen=True)
class Options:
    """How to convert.

    Attributes:
        target: llava for an annotation file with its media, clips for captioned clips.
        camera: the video of an episode; may be empty where there is only one.
        question, answer: texts of the record of an episode; {task} stands for its tasks.
        columns: known keys to the names that they have in the source.
        conversations_key: where the turns of a record are.
        media_root: folder or tar archive that media names are relative to; by default that of the source.
        links: link media instead of copying them.

    """

    target: Target = "llava"
    camera: str = ""
    question: str = ""
    answer: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    conversations_key: str = "conversations"
    media_root: Path | None = None
    links: bool = False


@dataclass(frozen=True)
class RawRecord:
    """One record as an annotation file would have it.

    Attributes:
        raw: what the reader of records reads.
        index: its position in its split.
        place: the file and row that it comes from.
        split: the part of the dataset that it belongs to; empty where there is only one.
        blobs: files that are held in the source, by the name that the record gives them; None for one that is written.

    """

    raw: Any
    index: int
    place: str = ""
    split: str = ""
    blobs: Mapping[str, bytes | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Episode:
    """A part of a video file that becomes one clip.

    Attributes:
        name: of the clip, without an ending.
        video: the file.
        start, end: seconds of the file, the end not included; None for the whole file.
        rate: frames per second.
        num_frames: how many frames its table says.
        caption: what happens in it.
        split: the part of the dataset that it belongs to; empty where there is only one.

    """

    name: str
    video: Path
    start: float | None
    end: float | None
    rate: float
    num_frames: int
    caption: str
    split: str = ""
