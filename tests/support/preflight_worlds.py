"""Makes real clips, annotation files and jobs for the tests of preflight."""

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tao_skill_bank.contracts import Credential, Input, Job, PlatformRequest, Resources, Workload
from tao_skill_bank.data import kinds


def write_clip(path, *, num_frames=12, fps=4, size=64, times=None):
    """Write a real mp4; `times` gives the frames' presentation times in ticks of 1/fps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for index in range(num_frames):
            pixels = np.full((size, size, 3), (index * 20) % 255, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = times[index] if times else index
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        if num_frames:
            container.mux(stream.encode(None))
        else:
            container.start_encoding()
    return path


def make_record(index, **changes):
    record = {
        "id": f"clip-{index}",
        "video": f"videos/{index}.mp4",
        "video_fps": 4.0,
        "conversations": [
            {"from": "human", "value": "<video>\nWhich way does it move?"},
            {"from": "gpt", "value": "left"},
        ],
    }
    return {**record, **changes}


def write_annotations(root, records):
    root.mkdir(parents=True, exist_ok=True)
    path = root / "annotations.json"
    path.write_text(records if isinstance(records, str) else json.dumps(records), encoding="utf-8")
    return path


def write_dataset(root, clip, records=None, num_videos=4):
    """Write `records` and as many copies of a clip as there are videos."""
    (root / "videos").mkdir(parents=True, exist_ok=True)
    for index in range(num_videos):
        (root / "videos" / f"{index}.mp4").write_bytes(clip.read_bytes())
    write_annotations(root, [make_record(index) for index in range(num_videos)] if records is None else records)
    return root


def use_of(root, role="train", media_path=None):
    paths = {"annotation_path": str(root / "annotations.json"), "media_path": str(media_path or root)}
    return Input(role, "annotations", paths)


def clips_of(root, role="train", min_frames=9, **options):
    return Input(role, "captioned_clips", {"path": str(root)}, {"min_frames": min_frames, **options})


def look(*inputs, **changes):
    """Return what the kinds of some inputs see of them, with what they looked with."""
    with ThreadPoolExecutor(2) as pool, tempfile.TemporaryDirectory() as scratch:
        context = kinds.Context(pool, Path(scratch), **changes)
        return [kinds.of(given, "").look(given, context) for given in inputs], context


def findings_on(*inputs, **changes):
    """Return the findings on some inputs of one kind."""
    seen, context = look(*inputs, **changes)
    return kinds.of(inputs[0], "").check(seen, context)


def codes(findings, severity=None):
    return [found.code for found in findings if severity in (None, found.severity)]


def only(findings, code):
    matching = [found for found in findings if found.code == code]
    assert len(matching) == 1, codes(findings)
    return matching[0]


class QuietPlatform:
    """A platform that reports what it is given and can do nothing else."""

    name = "quiet"

    def __init__(self, findings=(), *, runs_here=True):
        self.findings = list(findings)
        self.is_here = runs_here

    def runs_here(self, options):  # noqa: ARG002 - the protocol names it
        return self.is_here

    def shares(self, path, options):  # noqa: ARG002 - the protocol names them
        return True if self.is_here else None

    def interpreter(self, options):  # noqa: ARG002 - the protocol names it
        return None

    def probe(self, job):  # noqa: ARG002 - the protocol names it
        return self.findings


def make_job(folder, *uses, spec=None, resources=None, options=None, **changes):
    """Return a training job on some datasets; `changes` are those of its workload."""
    workload = Workload(
        model="builtin://tiny-cosmos-reason",
        trains=True,
        inputs=uses,
        batch_per_rank=2,
        micro_batch=1,
        epochs=3,
        max_tokens=40960,
        fps=2.0,
        max_checkpoints=2,
    )
    spec = spec or {
        "custom": {"vision": {"fps": 2.0}},
        "train": {"train_policy": {"conversation_column_name": "conversations"}},
    }
    return Job(
        id="job-1",
        skill="tao-finetune-cosmos-reason",
        action="train",
        network_arch="cosmos-rl",
        skill_dir="skills/tao-finetune-cosmos-reason",
        module="tao_skill_bank.models.cosmos_reason.train",
        spec=spec,
        config=spec,
        config_file="config/train.toml",
        results_dir=str(folder / "results"),
        resources=resources or Resources(device="cpu"),
        workload=replace(workload, **changes),
        platform=PlatformRequest(name="quiet", options=options or {}),
        credentials=(Credential("HF_TOKEN"),),
        dataset_required_fields=("video_fps",),
    )
