"""LeRobot datasets of layout 2.0 and 2.1: one video file per episode, tables as JSON lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.convert import lerobot
from tao_skill_bank.data.convert.lerobot import Info, Row
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Episode, Options, Target
from tao_skill_bank.errors import BlockedError

TITLE = "a LeRobot dataset of layout 2"
TARGETS: tuple[Target, ...] = ("clips", "llava")
VERSIONS = ("v2.0", "v2.1")
EPISODES = "episodes.jsonl"
READ = ("episode_index", "length", "tasks")
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def detect(path: Path) -> bool:
    """Return whether a folder is a LeRobot dataset of any layout that has no format of its own."""
    return lerobot.version_of(path) != "" and not lerobot.version_of(path).startswith("v3.")


def media_root(path: Path) -> Path:
    """Return the folder itself."""
    return path


def read(path: Path, options: Options, notes: Notes) -> Iterator[Episode]:
    """Yield the episodes."""
    version = lerobot.version_of(path)
    if version not in VERSIONS:
        message = f"{path} is a LeRobot dataset of layout {version[:20]!r}; read are v2.0, v2.1 and v3."
        fix = "Convert it to layout v3.0 with LeRobot's own script."
        raise BlockedError.of("dataset_version", message, fix, path=str(path / lerobot.INFO))
    info = lerobot.read_info(path, VIDEO_PATH)
    camera = lerobot.camera_of(path, info, options.camera)
    tasks = {
        number: str(row.get("task", ""))
        for row in _rows(path / "meta" / "tasks.jsonl", optional=True)
        if (number := lerobot.whole_number(row.get("task_index"))) is not None
    }
    rows = (_row(each, path, info, camera, notes) for each in _rows(path / "meta" / EPISODES))
    yield from lerobot.episodes(path, info, rows, tasks, options, notes)


def _rows(path: Path, *, optional: bool = False) -> Iterator[dict[str, Any]]:
    if optional and not path.exists():
        return
    for row in stream_records(path):
        if not isinstance(row, dict):
            raise lerobot.invalid(path, "has a line that is not an object")
        yield row


def _row(row: dict[str, Any], path: Path, info: Info, camera: str, notes: Notes) -> Row:
    lerobot.note_unread(row, READ, EPISODES, notes)
    index = lerobot.whole_number(row.get("episode_index")) or 0
    values = {"episode_chunk": index // info.chunks_size, "video_key": camera, "episode_index": index}
    video = lerobot.fill(info.video_path, values, str(path / lerobot.INFO))
    return Row(row.get("episode_index"), row.get("length"), row.get("tasks"), video)
