"""Small pools to mine: real clips, their embeddings, gaps and annotations."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as arrow
from pyarrow import parquet

from tao_skill_bank.mining.request import Request
from tao_skill_bank.mining.selection import Rules

QUESTION = "Which way does the ball move?"
MODEL = {"model": "builtin://tiny", "checkpoint": "aa", "spec": "bb", "dimension": 4}


def write_clips(folder: Path, count: int, seed: int = 0) -> list[str]:
    """Write clips of a moving ball, all of them different."""
    from tao_skill_bank.samples import vlm
    from tao_skill_bank.samples._folder import write_video

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index}.mp4" for index in range(count)]
    for path, clip in zip(paths, vlm.clips(count, seed), strict=True):
        write_video(path, clip.frames, 4)
    return list(map(str, paths))


def write_embeddings(
    path: Path,
    files: Sequence[str],
    vectors: object,
    *,
    model: Mapping[str, object] | None = MODEL,
    dtype: type = np.float16,
    **columns: Sequence[str | None],
) -> Path:
    """Write a parquet of embeddings; `model` None leaves the metadata out."""
    values = np.asarray(vectors, dtype)
    embedding = arrow.FixedSizeListArray.from_arrays(arrow.array(values.ravel()), values.shape[1])
    texts = {"modality": ["vision"] * len(files), **columns}
    table = arrow.table(
        {"filepath": list(files), "embedding": embedding}
        | {name: arrow.array(list(column), arrow.string()) for name, column in texts.items()}
    )
    if model is not None:
        table = table.replace_schema_metadata({"tao_embedding": json.dumps({**model, "dimension": values.shape[1]})})
    parquet.write_table(table, path)
    return path


def write_gaps(path: Path, files: Sequence[str], truths: Sequence[str], questions: Sequence[str] = ()) -> Path:
    """Write a parquet of gaps."""
    questions = list(questions) or [QUESTION] * len(files)
    parquet.write_table(
        arrow.table({"video_id": list(files), "question": questions, "ground_truth": list(truths)}), path
    )
    return path


def record(identity: str, video: str, answer: str, **keys: object) -> dict[str, object]:
    turns = [{"from": "human", "value": f"<video>\n{QUESTION}"}, {"from": "gpt", "value": answer}]
    return {"id": identity, "video": video, "video_fps": 4, "conversations": turns, **keys}


def write_annotations(path: Path, records: Sequence[Mapping[str, object]]) -> Path:
    path.write_text(json.dumps(list(records)))
    return path


def request(tmp_path: Path, queries: Path, pool: Path, *, out: str = "out", **options: object) -> Request:
    """Return a request; options of the rules and of the request by their names."""
    names = Rules.__dataclass_fields__.keys()
    rules = {name: value for name, value in options.items() if name in names}
    others = {name: value for name, value in options.items() if name not in names}
    return replace(Request(queries, pool, tmp_path / out), rules=Rules(**rules), **others)


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def mined_paths(summary: Mapping[str, object]) -> list[str]:
    return [clip["path"] for clip in summary["clips"]]
