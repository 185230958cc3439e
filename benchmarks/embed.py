"""Embeddings of clips by Qwen3-VL-8B: ours next to the same vectors by plain transformers, in one run.

    python benchmarks/embed.py [--rows PATTERN] [--clips 256] [--out FOLDER] [--smoke]

Full size with random weights in bfloat16: 32 frames of 512x512 are 4,096 vision tokens. The rows `pass` measure a
forward pass over four clips in memory: vision embeddings by the tower, joint embeddings by the whole model with
questions of different lengths, which plain transformers pads on the left. The rows `files` embed clips from disk: the
peer decodes a batch, computes it, and decodes the next one, with the same decoder; ours starts its decoding processes
within the time. `same` is the smallest cosine between a vector of ours and the peer's. `--smoke` runs every row at
small size, also without a GPU, and says nothing about speed.
"""

import argparse
import fnmatch
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # as our launcher sets it, for every row

import av
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tao_skill_bank.data.records.values import Media
from tao_skill_bank.models.cosmos_reason import architectures, builtin, data
from tao_skill_bank.models.cosmos_reason.blocks import Execution
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import Conversation
from tao_skill_bank.models.cosmos_reason.embedding import encoders, source
from tao_skill_bank.models.cosmos_reason.embedding.encoders import JointEncoder, PackPrompts, VisionEncoder
from tao_skill_bank.models.cosmos_reason.embedding.rows import Row
from tao_skill_bank.models.cosmos_reason.embedding.source import Source
from tao_skill_bank.models.cosmos_reason.loader import Batch, Padding, collate, to_device
from tao_skill_bank.models.cosmos_reason.media import Frames
from tao_skill_bank.models.cosmos_reason.network import Network
from tao_skill_bank.models.cosmos_reason.positions import Grid
from tao_skill_bank.models.cosmos_reason.processor import Processor, Sample
from tao_skill_bank.models.cosmos_reason.tokens import QWEN3_VL, timestamps
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat, normalize, patchify

NAME = "nvidia/Cosmos-Reason2-8B"
TINY = "tiny-cosmos-reason"
BATCH = 4  # clips of a forward pass
GIB = 1024**3
NUM_ENCODED = 32  # different clips; the others are links to them
RATE = 8  # frames per second
WORDS = ("left", "right", "straight")


@dataclass(frozen=True)
class Sizes:
    """Everything that `--smoke` makes small."""

    frames: int = 32
    side: int = 512
    clips: int = 256
    steps: int = 5
    processes: int = 8
    architecture: dict[str, Any] = field(default_factory=lambda: architectures.find(NAME))

    @property
    def tokens(self) -> int:
        """Vision tokens of a clip."""
        return self.frames // QWEN3_VL.temporal_patch_size * (self.side // QWEN3_VL.factor) ** 2


def smoke() -> Sizes:
    return Sizes(8, 64, 6, 2, 0, architectures.find(f"builtin://{TINY}"))


@dataclass(frozen=True)
class Way:
    """One way to embed: in plain transformers, or ours with the blocks compiled or not; from memory or from files."""

    name: str
    is_joint: bool = False
    is_plain: bool = False
    compile: bool = False
    files: bool = False

    @property
    def peer(self) -> str:
        """The row of plain transformers that embeds the same."""
        return f"{self.name.rpartition(', ours')[0] or self.name.rpartition(', plain')[0]}, plain transformers"


WAYS = (
    Way("vision, pass, plain transformers", is_plain=True),
    Way("vision, pass, ours"),
    Way("vision, pass, ours, compiled", compile=True),
    Way("vision, files, plain transformers", is_plain=True, files=True),
    Way("vision, files, ours", files=True),
    Way("vision, files, ours, compiled", compile=True, files=True),
    Way("joint, pass, plain transformers", is_joint=True, is_plain=True),
    Way("joint, pass, ours", is_joint=True),
    Way("joint, pass, ours, compiled", is_joint=True, compile=True),
)


def build(sizes: Sizes, device: torch.device, *, whole: bool) -> Any:
    """Return the model of random weights, or its vision tower alone."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

    config = Qwen3VLConfig(**sizes.architecture)
    config._attn_implementation = config.vision_config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            made: Any = Qwen3VLForConditionalGeneration(config) if whole else Qwen3VLVisionModel(config.vision_config)
    finally:
        torch.set_default_dtype(torch.float32)
    return made.to(torch.bfloat16).eval()


def processor_of() -> Processor:
    """Return a processor with the tokenizer of the embedded model."""
    template = (builtin.FOLDER / TINY / "chat_template.jinja").read_text(encoding="utf-8")
    return Processor(builtin._tokenizer(template), PixelFormat())


def frames_of(sizes: Sizes, seed: int) -> Tensor:
    """Return uint8 frames (time, 3, height, width) of a moving scene."""
    generator = np.random.default_rng(seed)
    scene = generator.integers(0, 255, (sizes.side // 8, sizes.side // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    moved = np.stack([np.roll(scene, 3 * index, axis=1) for index in range(sizes.frames)])
    return torch.from_numpy(moved).permute(0, 3, 1, 2).contiguous()


def prompts(sizes: Sizes, processor: Processor) -> list[Sample]:
    """Return clips with questions of different lengths, whose tokens the model has."""
    found = []
    for number in range(BATCH):
        question = " ".join(WORDS[place % len(WORDS)] for place in range(8 + 8 * number))
        content = [{"type": "video"}, {"type": "text", "text": question}]
        shown = Conversation("clip", ({"role": "user", "content": content},), (Media("video", "clip"),))
        times = timestamps(tuple(range(sizes.frames)), float(RATE))
        clip = Frames(frames_of(sizes, number), times)
        sample = processor.encode(shown, [clip], max_length=1_000_000, answer=True)
        sample.input_ids[sample.token_types > 0] = sizes.architecture["video_token_id"]  # of this model
        found.append(sample)
    return found


Embed = Callable[[], Tensor]


def plain_vision(visual: Any, patches: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Return unit vectors as a plain script pools what transformers computes."""
    inputs = normalize(patches, PixelFormat()).to(torch.bfloat16)
    out = visual(inputs, grid_thw=torch.tensor(grids, device=patches.device))
    merged = out.pooler_output if hasattr(out, "pooler_output") else out[0]
    sizes = [times * rows * columns // QWEN3_VL.merge_size**2 for times, rows, columns in grids]
    return F.normalize(torch.stack([part.float().mean(0) for part in torch.split(merged, sizes)]), dim=-1)


def plain_joint(model: Any, padded: Batch, device: torch.device, processor: Processor) -> Tensor:
    """Return unit vectors of the last states of prompts that are padded on the left."""
    inputs = to_device(padded, device, processor).inputs
    inputs["pixel_values_videos"] = inputs["pixel_values_videos"].to(torch.bfloat16)
    return F.normalize(model.model(**inputs, use_cache=False).last_hidden_state[:, -1].float(), dim=-1)


def of_clips(sizes: Sizes, way: Way, device: torch.device) -> Embed:
    """Return what embeds clips that are in memory by the vision tower."""
    side = sizes.side // QWEN3_VL.patch_size
    grid = (sizes.frames // QWEN3_VL.temporal_patch_size, side, side)
    clips = encoders.stack([(patchify(frames_of(sizes, number), QWEN3_VL), grid) for number in range(BATCH)])
    visual = build(sizes, device, whole=False)
    if way.is_plain:
        return lambda: plain_vision(visual, clips.patches.to(device), clips.grids)
    encoder = VisionEncoder(visual, PixelFormat(), Execution(compile=way.compile), device)
    return lambda: encoder.encode(clips)


def of_prompts(sizes: Sizes, way: Way, device: torch.device) -> Embed:
    """Return what embeds prompts with clips that are in memory by the whole model."""
    model, processor = build(sizes, device, whole=True), processor_of()
    samples = prompts(sizes, processor)
    if way.is_plain:
        padded = collate(samples, Padding(processor, side="left"))
        return lambda: plain_joint(model, padded, device, processor)
    encoder = JointEncoder(Network(model, PixelFormat(), Execution(compile=way.compile)), device)
    batch = PackPrompts(processor)(samples)
    return lambda: encoder.encode(batch)


def of_files(sizes: Sizes, way: Way, device: torch.device, folder: Path) -> Embed:
    """Return what embeds all clips of a folder, in the order of their names."""
    names = [path.name for path in sorted(folder.glob("*.mp4"))]
    shown = data.Presentation(VideoSampling(nframes=sizes.frames, total_pixels=sizes.frames * sizes.side**2), 1)
    listed = [{"id": name, "video": name, "video_fps": RATE} for name in names]
    records = data.Records(listed, str(folder), processor_of(), shown)
    media = [Media("video", name, rate=RATE) for name in names]
    rows = [Row(number, name, name, (media[number],)) for number, name in enumerate(names)]
    visual = build(sizes, device, whole=False)
    order = source.batches([sizes.tokens] * len(rows), BATCH * sizes.tokens)
    if way.is_plain:
        return lambda: torch.cat([plain_decoded(visual, records, rows, batch, device) for batch in order])
    reader = Source(records, rows, 1, {}, skips=False)
    encoder = VisionEncoder(visual, PixelFormat(), Execution(compile=way.compile), device)

    def embed() -> Tensor:
        loaded = source.batches_of(reader, order, encoders.stack, sizes.processes, BATCH * sizes.tokens)
        return torch.cat([encoder.encode(batch.content) for batch in loaded])

    return embed


def plain_decoded(
    visual: Any, records: data.Records, rows: Sequence[Row], batch: Sequence[int], device: torch.device
) -> Tensor:
    """Decode the clips of a batch, then embed them."""
    frames = [records.decode(rows[position].media[0]) for position in batch]
    patches = torch.cat([patchify(each.pixels, QWEN3_VL) for each in frames]).to(device)
    return plain_vision(visual, patches, [each.grid(QWEN3_VL) for each in frames])


def write_clips(sizes: Sizes, folder: Path) -> None:
    """Encode some clips with noise and motion, and link each of them to several names."""
    for number in range(min(NUM_ENCODED, sizes.clips)):
        first = folder / f"{number:06d}.mp4"
        with av.open(str(first), "w") as container:
            stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = sizes.side, sizes.side, "yuv420p"
            for pixels in frames_of(sizes, number).permute(0, 2, 3, 1).numpy():
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
            container.mux(stream.encode(None))
        for copy in range(number + NUM_ENCODED, sizes.clips, NUM_ENCODED):
            (folder / f"{copy:06d}.mp4").hardlink_to(first)


@torch.no_grad()
def measure(sizes: Sizes, way: Way, device: torch.device, folder: Path) -> tuple[dict[str, Any], Tensor]:
    """Return seconds of the first and of a median pass with the peak of memory, and the vectors on the host."""
    if way.files:
        embed = of_files(sizes, way, device, folder)
    else:
        embed = (of_prompts if way.is_joint else of_clips)(sizes, way, device)
    began = time.perf_counter()
    vectors = embed().cpu()
    first = time.perf_counter() - began
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(1 if way.files else sizes.steps):
        began = time.perf_counter()
        vectors = embed().cpu()  # ends with the vectors on the host: the device is done
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds)
    return {
        "row": way.name,
        "peer": way.peer,
        "clips": len(vectors),
        "first": first,
        "seconds": median,
        "spread": max(seconds) - min(seconds),
        "clips_per_second": len(vectors) / median,
        "tokens_per_second": len(vectors) * sizes.tokens / median,
        "gib": torch.cuda.max_memory_allocated() / GIB if device.type == "cuda" else 0.0,
    }, vectors


@dataclass
class Report:
    """What was measured so far."""

    sizes: str
    device: str = field(default_factory=lambda: torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU")
    torch: str = torch.__version__
    transformers: str = field(default_factory=lambda: version("transformers"))
    rows: list[dict[str, Any]] = field(default_factory=list)

    def text(self) -> str:
        lines = [f"{self.device}, torch {self.torch}, transformers {self.transformers}; {self.sizes}", ""]
        lines += ["| vectors | clips/s | vision tokens/s | against plain | first s | peak GiB | same |"]
        lines += ["|---|---|---|---|---|---|---|"]
        peers = {row["row"]: row["clips_per_second"] for row in self.rows}
        for row in self.rows:
            peer, same = peers.get(row["peer"]), row.get("same")
            ratio = f"{row['clips_per_second'] / peer:.2f}x" if peer else "-"
            numbers = f"{row['clips_per_second']:.2f} | {row['tokens_per_second']:,.0f} | {ratio} | {row['first']:.1f}"
            lines.append(f"| {row['row']} | {numbers} | {row['gib']:.1f} | {'-' if same is None else f'{same:.5f}'} |")
        return "\n".join(lines)

    def write(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "embed.json").write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
            (folder / "embed.md").write_text(self.text() + "\n", encoding="utf-8")


def run(sizes: Sizes, pattern: str, device: torch.device, out: Path | None) -> Report:
    """Measure every way whose name matches, each with a model of its own."""
    report, vectors = Report(f"{sizes.frames} frames of {sizes.side}x{sizes.side}, {sizes.tokens} tokens a clip"), {}
    with tempfile.TemporaryDirectory() as folder:
        write_clips(sizes, Path(folder))
        for way in WAYS:
            if not fnmatch.fnmatch(way.name, pattern):
                continue
            row, vectors[way.name] = measure(sizes, way, device, Path(folder))
            if way.peer in vectors and not way.is_plain:
                row["same"] = F.cosine_similarity(vectors[way.name], vectors[way.peer], dim=-1).min().item()
            report.rows.append(row)
            print(json.dumps(row), flush=True)
            report.write(out)  # after each row: a run that is cut short leaves what it measured
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="*", help="run the rows whose name matches")
    parser.add_argument("--clips", type=int, default=Sizes.clips, help="of the rows that read files")
    parser.add_argument("--processes", type=int, default=Sizes.processes, help="that decode for ours")
    parser.add_argument("--out", type=Path, help="folder for the table and its numbers")
    parser.add_argument("--smoke", action="store_true", help="small sizes, for a check without a GPU")
    arguments = parser.parse_args()
    if not (arguments.smoke or torch.cuda.is_available()):
        print("The full size needs a GPU; nothing was measured. --smoke runs every row on a CPU.")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = {"clips": arguments.clips, "processes": arguments.processes}
    report = run(smoke() if arguments.smoke else replace(Sizes(), **chosen), arguments.rows, device, arguments.out)
    print(report.text())


if __name__ == "__main__":
    main()
