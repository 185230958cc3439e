"""Preflight of a large annotation file against `json.load` of it: time and peak memory, each in its own process.

    python benchmarks/preflight.py [--records 1000000] [--rounds 3] [--folder DIR]

The file is generated: one clip, one question and one answer per record, over 20,000 clips (hard links to a few real
ones). Preflight runs whole, with an evaluation set of 2 % of the records: required fields, turns, duplicate ids, media
existence, overlap, decoding of 16 clips, tokens, memory, disk. The answer of the model inspection, which is cached
between requests, is cached here too; the first row says what it costs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NUM_CLIPS = 20_000
LINKS_PER_FILE = 1_000
EVALUATION_SHARE = 0.02
SPEC_FILE = "job.json"

MEASURE = """
import json, resource, sys, time
start = time.perf_counter()
{body}
seconds = time.perf_counter() - start
mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"seconds": seconds, "mib": mib, "told": told}}))
"""
JSON_LOAD = "told = len(json.load(open(sys.argv[1], encoding='utf-8')))"
PREFLIGHT = """
from pathlib import Path
from tao_skill_bank import preflight
from tao_skill_bank.contracts import Job, read_json
from tao_skill_bank.platforms import base
job = read_json(Job, Path(sys.argv[2]))
told = sorted(finding.code for finding in preflight.run(job, base.load("local")) if finding.severity != "info")
"""


def generate(folder: Path, num_records: int) -> Path:
    """Write training and evaluation sets and return the training annotation file."""
    clips = folder / "videos"
    clips.mkdir(parents=True)
    for index in range(NUM_CLIPS):
        if index % LINKS_PER_FILE == 0:
            original = clips / f"{index:07d}.mp4"
            write_clip(original, shade=index // LINKS_PER_FILE)
        else:
            os.link(original, clips / f"{index:07d}.mp4")
    write_annotations(folder / "train.json", "train", num_records, NUM_CLIPS // 2, first=0)
    write_annotations(folder / "eval.json", "eval", int(num_records * EVALUATION_SHARE), NUM_CLIPS // 2, NUM_CLIPS // 2)
    return folder / "train.json"


def write_clip(path: Path, *, shade: int) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width = stream.height = 64
        for index in range(8):
            pixels = np.full((64, 64, 3), 10 * shade + index, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def write_annotations(path: Path, name: str, num_records: int, num_clips: int, first: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("[\n")
        for index in range(num_records):
            record = {
                "id": f"{name}-{index:07d}",
                "video": f"videos/{first + index % num_clips:07d}.mp4",
                "video_fps": 30.0,
                "conversations": [
                    {"from": "human", "value": "<video>\nWhich way does the square move?"},
                    {"from": "gpt", "value": ("left", "right", "straight")[index % 3]},
                ],
            }
            file.write((",\n" if index else "") + json.dumps(record))
        file.write("\n]\n")


def write_job(folder: Path) -> Path:
    """Plan a training request on the generated data and keep its job."""
    from tao_skill_bank.bank import catalog
    from tao_skill_bank.contracts import DatasetPaths, PlatformRequest, Request, to_json
    from tao_skill_bank.planning import parents, planner
    from tao_skill_bank.spec import build

    request = Request(
        skill="tao-finetune-cosmos-reason",
        action="train",
        automl_policy="off",
        datasets={
            "train": DatasetPaths(str(folder / "train.json"), str(folder)),
            "eval": DatasetPaths(str(folder / "eval.json"), str(folder)),
        },
        overrides={"policy.model_name_or_path": "builtin://tiny-cosmos-reason"},
        platform=PlatformRequest(name="local"),
        results_dir=str(folder / "results"),
    )
    skill = catalog.find(request.skill)
    parent = parents.inherit(skill, request)
    job = planner.assemble(
        skill, request, build.build(skill, request, parent.values), parent, "benchmark", one_machine=True
    )
    path = folder / SPEC_FILE
    path.write_text(json.dumps(to_json(job)), encoding="utf-8")
    return path


def measure(body: str, *arguments: Path) -> dict:
    code = MEASURE.format(body=body)
    start = time.perf_counter()
    environment = {**os.environ, "TAO_STATE_DIR": str(arguments[0].parent / "state")}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return {**json.loads(done.stdout), "wall": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the data are made; a temporary folder by default")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=flags.folder) as name:
        annotations = generate(Path(name), flags.records)
        job = write_job(Path(name))
        print(f"{flags.records} records, {annotations.stat().st_size / 1e6:.0f} MB, {os.cpu_count()} cores")
        first = measure(PREFLIGHT, annotations, job)
        rounds = [(measure(JSON_LOAD, annotations), measure(PREFLIGHT, annotations, job)) for _ in range(flags.rounds)]
    print(f"findings: {first['told'] or 'none but information'}\n")
    print(f"{'':34}{'wall s':>8}{'inside s':>10}{'peak MiB':>10}")
    print(f"{'preflight, model not yet inspected':34}{first['wall']:8.2f}{first['seconds']:10.2f}{first['mib']:10.0f}")
    for load, whole in rounds:
        print(f"{'json.load':34}{load['wall']:8.2f}{load['seconds']:10.2f}{load['mib']:10.0f}")
        print(f"{'preflight':34}{whole['wall']:8.2f}{whole['seconds']:10.2f}{whole['mib']:10.0f}")
    ratio = statistics.median(whole["wall"] / load["wall"] for load, whole in rounds)
    print(f"\npreflight / json.load, median of {flags.rounds}: {ratio:.2f}")


if __name__ == "__main__":
    main()
