"""LeRobot datasets in the layouts 2.1 and 3.0, with real videos: a frame's brightness is its number in the file."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
from pyarrow import parquet

FPS = 10
STEP = 6  # of brightness from frame to frame
TOP, WRIST = "observation.images.top", "observation.images.wrist"


def write_frames(path: Path, numbers, size=(32, 48), fps=FPS) -> Path:
    """Write a video with a keyframe every second frame, as LeRobot does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": "2", "crf": "10", "preset": "ultrafast"})
        (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
        for number in numbers:
            pixels = np.full((*size, 3), STEP * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def frame_numbers(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [round(float(frame.to_ndarray(format="rgb24").mean()) / STEP) for frame in container.decode(video=0)]


def info(version: str, total: int, cameras=(TOP,), **others) -> dict:
    features = {camera: {"dtype": "video", "shape": [32, 48, 3]} for camera in cameras}
    features |= {name: {"dtype": "float32", "shape": [2]} for name in ("action", "observation.state")}
    features |= {name: {"dtype": "int64", "shape": [1]} for name in ("frame_index", "episode_index", "task_index")}
    return {
        "codebase_version": version, "robot_type": "arm", "total_episodes": total, "chunks_size": 1000, "fps": FPS,
        "splits": {"train": f"0:{total}"}, "features": features, **others,
    }  # fmt: skip


def write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_lines(path: Path, values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values))


def write_table(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def version_2(root: Path, lengths=(5, 8), tasks=("Lift the cup.", "Push the box."), cameras=(TOP,), **others) -> Path:
    """Write a dataset of layout 2.1; episode i starts with frame 10 i."""
    given = {"data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
             "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
             **others}  # fmt: skip
    write_json(root / "meta" / "info.json", info("v2.1", len(lengths), cameras, **given))
    write_lines(root / "meta" / "tasks.jsonl", [{"task_index": i, "task": task} for i, task in enumerate(tasks)])
    rows = [{"episode_index": i, "tasks": [tasks[i]], "length": length} for i, length in enumerate(lengths)]
    write_lines(root / "meta" / "episodes.jsonl", rows)
    write_lines(root / "meta" / "episodes_stats.jsonl", [{"episode_index": i} for i in range(len(lengths))])
    for index, length in enumerate(lengths):
        name = f"episode_{index:06d}"
        write_table(root / f"data/chunk-000/{name}.parquet", [{"frame_index": i} for i in range(length)])
        for camera in cameras:
            numbers = range(10 * index, 10 * index + length)
            write_frames(root / f"videos/chunk-000/{camera}/{name}.mp4", numbers)
    return root


def version_3(root: Path, files=((5, 8, 12), (6,)), cameras=(TOP,), change=lambda row: row, **others) -> Path:
    """Write a dataset of layout 3.0; `files` has the lengths of the episodes of every video file."""
    total = sum(map(len, files))
    given = {"video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4", **others}
    write_json(root / "meta" / "info.json", info("v3.0", total, cameras, **given))
    tasks = [f"Task {index}." for index in range(total)]
    table = pa.table({"task_index": list(range(total)), "__index_level_0__": tasks})
    parquet.write_table(table, root / "meta" / "tasks.parquet")
    rows = []
    for file, lengths in enumerate(files):
        for camera in cameras:
            write_frames(root / f"videos/{camera}/chunk-000/file-{file:03d}.mp4", range(sum(lengths)))
        start = 0
        for length in lengths:
            row = {"episode_index": len(rows), "tasks": [tasks[len(rows)]], "length": length,
                   "data/chunk_index": 0, "data/file_index": 0, "stats/action/mean": [0.5, 0.5]}  # fmt: skip
            for camera in cameras:
                row |= {f"videos/{camera}/chunk_index": 0, f"videos/{camera}/file_index": file,
                        f"videos/{camera}/from_timestamp": start / FPS,
                        f"videos/{camera}/to_timestamp": (start + length) / FPS}  # fmt: skip
            rows.append(change(row))
            start += length
    write_table(root / "meta/episodes/chunk-000/file-000.parquet", rows)
    write_table(root / "data/chunk-000/file-000.parquet", [{"index": 0}])
    return root
