"""LeRobot datasets of layout 3: files of many episodes, and parquet tables that say where each of them lies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.data.convert import arrow_rows, lerobot
from tao_skill_bank.data.convert.lerobot import Info, Row
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Episode, Options, Target

TITLE = "a LeRobot dataset of layout 3"
TARGETS: tuple[Target, ...] = ("clips", "llava")
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
LAYOUT = ("videos/", "data/", "meta/", "stats/", "dataset_from_index", "dataset_to_index")  # what places an episode
TEXT_COLUMNS = ("task", "__index_level_0__")  # tasks are the index of the table that is stored


def detect(path: Path) -> bool:
    """Return whether a folder is a LeRobot dataset of layout 3."""
    return lerobot.version_of(path).startswith("v3.")


def media_root(path: Path) -> Path:
    """Return the folder itself."""
    return path


def read(path: Path, options: Options, notes: Notes) -> Iterator[Episode]:
    """Yield the episodes."""
    info = lerobot.read_info(path, VIDEO_PATH)
    camera = lerobot.camera_of(path, info, options.camera)
    tables = sorted((path / "meta" / "episodes").glob("*/*.parquet"))
    if not tables:
        raise lerobot.invalid(path / "meta" / "episodes", "holds no table of episodes")
    yield from lerobot.episodes(path, info, _rows(path, tables, info, camera, notes), _tasks(path), options, notes)


def _rows(path: Path, tables: list[Path], info: Info, camera: str, notes: Notes) -> Iterator[Row]:
    key = f"videos/{camera}"
    columns = ["episode_index", "length", "tasks"]
    of_video = [f"{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")]
    for table in tables:
        names = [name for name in arrow_rows.column_names(table) if not name.startswith(LAYOUT)]
        for row in arrow_rows.read_parquet(table, (*names, *of_video)):
            lerobot.note_unread(row, (*columns, *of_video), "meta/episodes", notes)
            if missing := [name for name in of_video if row.get(name) is None]:
                raise lerobot.invalid(table, f"lacks {', '.join(missing)}")
            chunk, file, start, end = (row[name] for name in of_video)
            values = {"video_key": camera, "chunk_index": chunk, "file_index": file}
            video = lerobot.fill(info.video_path, values, str(path / lerobot.INFO))
            yield Row(row.get("episode_index"), row.get("length"), row.get("tasks"), video, start, end)


def _tasks(path: Path) -> dict[int, str]:
    table = path / "meta" / "tasks.parquet"
    rows: Iterator[dict[str, Any]] = arrow_rows.read_parquet(table) if table.exists() else iter(())
    found = {}
    for row in rows:
        text = next((row[name] for name in TEXT_COLUMNS if isinstance(row.get(name), str)), None)
        number = lerobot.whole_number(row.get("task_index"))
        if text is not None and number is not None:
            found[number] = text
    return found
