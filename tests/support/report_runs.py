"""Run directories as the trainer and the evaluator leave them, with real clips."""

import json
import math
from dataclasses import replace

from runs import make_job, make_plan

from tao_skill_bank.contracts import Finding, Input, Workload, to_json
from tao_skill_bank.runs.run_directory import RunDirectory

LABELS = ("left", "right", "straight")
QUESTION = "Which way does the square move? Answer with one word: left, right or straight."


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def make_clip(path, step, num_frames=8):
    """Write an mp4 of a square that moves `step` pixels a frame."""
    import av
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(num_frames):
            image = np.full((64, 64, 3), 40, dtype=np.uint8)
            left = 26 + step * index
            image[26:38, left : left + 12] = (240, 180, 60)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def annotated(role, data):
    return Input(role, "annotations", {"annotation_path": f"{data}/annotations.json", "media_path": str(data)})


def seal(folder, action, inputs, **changes):
    workload = Workload(model="builtin://tiny-cosmos-reason", trains=action == "train", inputs=inputs)
    job = make_job(folder, action=action, workload=workload, **changes)
    finding = Finding(
        "short_run", "warning", "The run has 38 steps only.", "Raise train.epoch to 3 or more.", "train.epoch"
    )
    plan = replace(make_plan(job), findings=(finding,))
    write(folder / "plan.json", to_json(plan))
    write(folder / "request.json", to_json(plan.request))


def make_training(folder, data):
    """Write the directory of a finished training."""
    seal(folder, "train", (annotated("train", data),))
    status = [
        {"time": "2026-03-01T12:00:00.000+00:00", "state": "STARTED", "step": 0, "total": 60},
        {"time": "2026-03-01T12:00:41.500+00:00", "state": "SUCCESS", "step": 60, "total": 60, "message": "done"},
    ]
    write_lines(folder / "status.jsonl", status)
    lines = []
    for step in range(1, 61):
        loss = 0.05 + 1.2 * math.exp(-step / 14) + 0.06 * math.sin(step * 1.7) * math.exp(-step / 30)
        lines.append({"step": step, "train/loss_avg": loss, "optimizer/lr": 3e-3 * (1 - step / 60)})
        if step % 15 == 0:
            lines.append({"step": step, "val/avg_loss": loss + 0.04})
    lines[-2] |= {"train/tokens_per_second": 18342.7, "train/iteration_time": 0.412}
    write_lines(folder / "metrics.jsonl", lines)
    write(folder / "best" / "best_score.json", {"best_score": 0.0852, "metric": "val/avg_loss"})
    return RunDirectory(folder)


def make_evaluation(folder, data, is_right, question=QUESTION):
    """Write the directory of a finished evaluation of 24 clips; `is_right` tells which positions are answered well."""
    seal(folder, "evaluate", (annotated("eval", data),))
    write_lines(
        folder / "status.jsonl",
        [
            {"time": "2026-03-01T12:01:00.000+00:00", "state": "STARTED"},
            {"time": "2026-03-01T12:01:04.250+00:00", "state": "SUCCESS", "step": 3, "total": 3},
        ],
    )
    answers, matrix = [], [[0] * 4 for _ in range(4)]
    for position in range(24):
        truth = position % 3
        answer = truth if is_right(position) else (truth + 1) % 3
        matrix[truth][answer] += 1
        name = f"clips/{position:03}.mp4"
        if not (data / name).exists():
            make_clip(data / name, step=(-3, 3, 0)[truth])
        answers.append({"video_id": name, "question": question, "response": LABELS[answer], "gt": LABELS[truth]})
    write(folder / "results.json", answers)
    accuracy = sum(matrix[index][index] for index in range(3)) / 24
    per_class = {
        label: {"precision": accuracy, "recall": matrix[index][index] / 8, "f1": accuracy, "support": 8}
        for index, label in enumerate(LABELS)
    }
    summary = {
        "task": "its_directionality",
        "num_samples": 24,
        "metrics": {"accuracy": accuracy, "macro_f1": accuracy * 0.99, "bertscore": None},
        "per_class": per_class,
        "confusion_matrix": {"labels": [*LABELS, "unparseable"], "matrix": matrix},
        "not_computed": {"bertscore": "needs a model of 3 GB; name it in metrics.names"},
    }
    write(folder / "metrics_summary.json", summary)
    return RunDirectory(folder)


def make_demo(folder):
    """Write the three runs of a demo and return them by role."""
    data = folder / "data"
    return {
        "base evaluation": make_evaluation(folder / "base", data, lambda position: position % 3 == position % 7 % 3),
        "training": make_training(folder / "training", data),
        "tuned evaluation": make_evaluation(folder / "tuned", data, lambda position: position not in (4, 17)),
    }
