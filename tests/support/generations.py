"""Gaps with real clips, and videos that were generated for them."""

import json
from pathlib import Path

from report_runs import make_clip


def write_gaps(folder: Path, num_clips: int = 3) -> Path:
    """Write clips, and two gaps of the first and one of every other clip."""
    rows = []
    for number in range(num_clips):
        video = folder / "kpi" / f"{number}.mp4"
        make_clip(video, step=1)
        for question in ("<video>\nLeft or right?", "Does it stop?")[: 2 if number == 0 else 1]:
            truth = "left" if "Left" in question else "no"
            row = {"video_id": str(video), "error_type": "FP", "question": question}
            rows.append({**row, "ground_truth": truth, "response": "right"})
    path = folder / "kpi_gaps.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_generation(folder: Path, names: list[str], variants: tuple[str, ...] = ("base", "lora")) -> Path:
    """Write the videos of a generation as the action `generate` leaves them."""
    entries = []
    for variant in variants:
        for name in names:
            output = f"{variant}/{name}.mp4"
            make_clip(folder / output, step=2)
            entries.append({"name": name, "variant": variant, "seed": 0, "prompt": "p", "output": output, "fps": 4})
    (folder / "results.json").write_text(json.dumps(entries))
    return folder


def write_judged(folder: Path, scores: dict[tuple[str, str], float | None]) -> Path:
    """Write the scores of an evaluation of videos."""
    folder.mkdir()
    entries = [
        {"name": name, "variant": variant, "seed": 0, "judge_physics": {"mean": score}}
        for (name, variant), score in scores.items()
    ]
    (folder / "results.json").write_text(json.dumps(entries))
    return folder
