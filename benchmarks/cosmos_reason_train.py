"""One training step of Qwen3-VL-8B: ours beside the same step in plain transformers with TRL's loss, on one GPU.

    python benchmarks/cosmos_reason_train.py [--out FOLDER] [--rows PATTERN] [--tiny]

Full size with random weights: 32 frames of 512x512 are 4,096 vision tokens, sequence 4,384, 288 of them labelled,
micro-batch 1; LoRA of rank 16 on q_proj and v_proj, or all weights with weights and optimizer states in bfloat16. The
peer is what a plain script of transformers, peft and TRL does: gradient checkpointing, eager blocks, TRL's fused head
with its metrics, AdamW. `--tiny` runs every row in seconds, also without a GPU, and says nothing about speed.
"""

import argparse
import fnmatch
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # as our launcher sets it, for every row

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from support.ceiling import matmul_rate
from tao_skill_bank.models.cosmos_reason import architectures
from tao_skill_bank.models.cosmos_reason.blocks import Execution
from tao_skill_bank.models.cosmos_reason.network import Network, parts
from tao_skill_bank.models.cosmos_reason.packing import LENGTH_MULTIPLE, Packed
from tao_skill_bank.models.cosmos_reason.positions import Grid, token_positions
from tao_skill_bank.models.cosmos_reason.tokens import QWEN3_VL
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat, normalize
from tao_skill_bank.training import gradients

NAME = "nvidia/Cosmos-Reason2-8B"
TARGETS = ["q_proj", "v_proj"]
LEARNING_RATE, WEIGHT_DECAY, CLIP = 1e-5, 0.01, 1.0
VIDEO_TYPE = 2
GIB = 1024**3
COMPARED = (
    "layers.0.",
    "layers.1.",
    "blocks.0.",
    "blocks.1.",
    "merger",
)  # of all weights, whose gradients are compared


@dataclass(frozen=True)
class Sizes:
    """Everything that `--tiny` makes small. A sample has `text` tokens beside those of `grid`; `labels` are learned."""

    grid: Grid = (16, 32, 32)
    text: int = 288
    labels: int = 288
    rank: int = 16
    steps: int = 5
    architecture: dict[str, Any] = field(default_factory=lambda: architectures.find(NAME))

    @property
    def vision_tokens(self) -> int:
        time_patches, rows, columns = self.grid
        return time_patches * rows * columns // QWEN3_VL.merge_size**2


def tiny() -> Sizes:
    return Sizes((16, 4, 4), 64, 32, 4, 2, architectures.find("builtin://tiny-cosmos-reason"))


@dataclass(frozen=True)
class Sample:
    """One clip with its conversation, as token ids, types and patches on the device."""

    input_ids: Tensor
    token_types: Tensor
    labels: Tensor
    patches: Tensor
    grid: Grid

    @classmethod
    def draw(cls, sizes: Sizes, config: Any, device: torch.device, *, seed: int = 0) -> "Sample":
        """Every temporal patch is a run of pads of its own, with one text token before it."""
        generator = torch.Generator().manual_seed(seed)
        time_patches, rows, columns = sizes.grid
        per_frame = rows * columns // QWEN3_VL.merge_size**2
        types = [piece for _ in range(time_patches) for piece in (0, *[VIDEO_TYPE] * per_frame)]
        token_types = torch.tensor([*types, *[0] * (sizes.text - time_patches)])
        ids = torch.randint(10, config.text_config.vocab_size * 9 // 10, (len(token_types),), generator=generator)
        ids[token_types == VIDEO_TYPE] = config.video_token_id
        labels = torch.where(torch.arange(len(ids)) >= len(ids) - sizes.labels, ids, -100)
        labels[token_types > 0] = -100
        values = 3 * QWEN3_VL.temporal_patch_size * QWEN3_VL.patch_size**2
        patches = torch.randint(0, 256, (time_patches * rows * columns, values), dtype=torch.uint8, generator=generator)
        moved = (tensor.to(device) for tensor in (ids, token_types, labels, patches))
        return cls(*moved, sizes.grid)


def packed(samples: Sequence[Sample], features: Tensor | None) -> Packed:
    """Return samples as the trainer's loader packs them."""
    lengths = [len(sample.input_ids) for sample in samples]
    filling = -sum(lengths) % LENGTH_MULTIPLE
    device = samples[0].input_ids.device
    spare = torch.zeros(filling, dtype=torch.long, device=device)
    labels = [torch.cat([sample.labels.new_full((1,), -100), sample.labels[1:]]) for sample in samples]
    targets = torch.cat([*labels, spare - 100])[1:]
    predictors = (targets != -100).nonzero().flatten()
    types = torch.cat([sample.token_types for sample in samples])
    positions = [token_positions(sample.token_types.cpu(), [sample.grid], QWEN3_VL) for sample in samples]
    lengths[-1] += filling
    return Packed(
        input_ids=torch.cat([*(sample.input_ids for sample in samples), spare]),
        positions=torch.cat([*positions, torch.arange(filling).expand(3, -1)], dim=1).to(device),
        lengths=tuple(lengths),
        boundaries=torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=torch.int32, device=device),
        predictors=predictors,
        targets=targets[predictors],
        vision_places=(types > 0).nonzero().flatten(),
        patches=torch.cat([sample.patches for sample in samples]) if features is None else None,
        grids=tuple(sample.grid for sample in samples) if features is None else (),
        features=features,
        has_spare_media=False,
        num_tokens=sum(lengths) - filling,
        num_samples=len(samples),
    )


def build(sizes: Sizes, device: torch.device, *, lora: bool, dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    """Return a model of random weights with fresh adapters (B is not zero, so that A has gradients), or all trained."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)  # the same weights whatever the type
    with device:
        model: Any = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**sizes.architecture)).to(torch.bfloat16)
    torch.set_default_dtype(torch.float32)
    model.to(dtype)
    if lora:
        torch.manual_seed(1)
        model = get_peft_model(model, LoraConfig(r=sizes.rank, lora_alpha=2 * sizes.rank, target_modules=TARGETS))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
                if "lora_B" in name:
                    nn.init.normal_(parameter, std=0.01)
    return model.train()


Step = Callable[[], float]


def plain_inputs(sample: Sample, dtype: torch.dtype) -> dict[str, Any]:
    return {
        "input_ids": sample.input_ids[None],
        "attention_mask": torch.ones_like(sample.input_ids)[None],
        "mm_token_type_ids": sample.token_types[None],
        "pixel_values_videos": normalize(sample.patches, PixelFormat()).to(dtype),
        "video_grid_thw": torch.tensor([sample.grid], device=sample.input_ids.device),
    }


def add_fused_head(model: nn.Module) -> bool:
    """Give transformers' model TRL's fused head; False where TRL is not installed."""
    try:
        from trl.trainer.utils import add_fused_lm_head
    except ImportError:
        return False
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return True


def plain_loss(model: nn.Module, sample: Sample, *, fused: bool) -> Tensor:
    """Return the loss as TRL's SFTTrainer computes it, metrics included; without TRL, transformers' own."""
    inputs = plain_inputs(sample, parts(model).dtype)
    if not fused:
        loss: Tensor = model(**inputs, labels=sample.labels[None], use_cache=False).loss
        return loss
    outputs = model(**inputs, labels=sample.labels[None], fused_lm_head=True)
    num_tokens = outputs.label_mask.sum()
    loss = -outputs.log_probs.sum() / num_tokens.clamp(min=1)
    for metric in (outputs.entropy.detach().sum(), outputs.is_top1.sum(), inputs["attention_mask"].sum()):
        metric.item()
    return loss


def plain_step(model: nn.Module, sample: Sample, *, fused: bool) -> Step:
    base: Any = parts(model)
    base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if hasattr(model, "enable_input_require_grads"):
        base.enable_input_require_grads()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)

    def step() -> float:
        loss = plain_loss(model, sample, fused=fused)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def our_step(network: Network, batch: Packed) -> Step:
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)

    def step() -> float:
        loss = network(batch)
        loss.backward()
        norm, factor = gradients.clipping(weights, 1 / batch.num_labels, CLIP)
        gradients.multiply(weights, factor)
        gradients.step_unless_not_finite(optimizer, norm)
        optimizer.zero_grad(set_to_none=True)
        return loss.item() / batch.num_labels

    return step


@dataclass(frozen=True)
class Row:
    """One way to take the step.

    Attributes:
        recompute: share of blocks whose activations are computed anew; None is the plain peer.
        samples: as many short samples share the sequence, with as many tokens together.

    """

    name: str
    lora: bool = True
    recompute: float | None = None
    cached: bool = False
    compile: bool = True
    samples: int = 1


PACKED = (2, 4, 8, 16, 32)
PEERS = {True: "LoRA, plain transformers + TRL", False: "full, plain transformers + TRL"}
ROWS = (
    Row(PEERS[True]),
    Row("LoRA, ours", recompute=0.0),
    Row("LoRA, ours, features cached", recompute=0.0, cached=True),
    Row("LoRA, ours, checkpointing", recompute=1.0),
    Row("LoRA, ours, eager", recompute=0.0, compile=False),
    *(Row(f"LoRA, ours, features cached, packed {n}", recompute=0.0, cached=True, samples=n) for n in PACKED),
    Row(PEERS[False], lora=False),
    Row("full, ours", lora=False, recompute=0.0),
    Row("full, ours, half of the blocks checkpointed", lora=False, recompute=0.5),
    Row("full, ours, checkpointing", lora=False, recompute=1.0),
)


def prepare(sizes: Sizes, row: Row, device: torch.device) -> tuple[Step, int]:
    """Return the step of a row and its tokens."""
    model = build(sizes, device, lora=row.lora)
    config = parts(model).config
    if row.recompute is None:
        fused = add_fused_head(parts(model))
        sample = Sample.draw(sizes, config, device)
        return plain_step(model, sample, fused=fused), len(sample.input_ids)
    network = Network(model, PixelFormat(), Execution(row.recompute, row.compile))
    time_patches, rows, columns = sizes.grid
    shorter = min(row.samples, time_patches)
    grid = (time_patches // shorter, rows * shorter // row.samples, columns)
    part = Sizes(grid, sizes.text // row.samples, sizes.labels // row.samples)
    samples = [Sample.draw(part, config, device, seed=seed) for seed in range(row.samples)]
    features = None
    if row.cached:
        with torch.no_grad():
            features = torch.cat([network.encode(sample.patches, (sample.grid,)) for sample in samples])
    batch = packed(samples, features)
    return our_step(network, batch), batch.num_tokens


def measure(sizes: Sizes, row: Row, device: torch.device) -> dict[str, Any]:
    """Return seconds of the first step and of a median one, and the memory at the peak of the steps."""
    cuda = device.type == "cuda"
    step, tokens = prepare(sizes, row, device)
    began = time.perf_counter()
    losses = [step()]
    first = time.perf_counter() - began
    losses.append(step())
    if cuda:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(sizes.steps):
        began = time.perf_counter()
        losses.append(step())  # ends with the loss on the host: the device is done
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds)
    return {
        "row": row.name,
        "seconds": median,
        "spread": max(seconds) - min(seconds),
        "first": first,
        "tokens": tokens,
        "tokens_per_second": tokens / median,
        "gib": torch.cuda.max_memory_reserved() / GIB if cuda else 0.0,
        "allocated_gib": torch.cuda.max_memory_allocated() / GIB if cuda else 0.0,
        "flop": step_flop(sizes, row),
        "losses": losses,
    }


def step_flop(sizes: Sizes, row: Row) -> float:
    """Operations of one step that no method can leave out.

    A product costs 2 per weight and token forward, as much for its input's gradient and as much for its weight's.
    Causal attention costs 2 tokens^2 width forward, twice that backward. A frozen vision tower runs forward only.
    """
    text, vision = sizes.architecture["text_config"], sizes.architecture["vision_config"]
    hidden, heads = text["hidden_size"], text["num_attention_heads"] * text["head_dim"]
    keys = text["num_key_value_heads"] * text["head_dim"]
    per_layer = 2 * hidden * (heads + keys) + 3 * hidden * text["intermediate_size"]
    tokens, layers = (sizes.vision_tokens + sizes.text) // row.samples, text["num_hidden_layers"]
    products = 2 * tokens * per_layer * layers + 2 * sizes.labels // row.samples * hidden * text["vocab_size"]
    attention = 2 * tokens**2 * heads * layers
    passes = 2 if row.lora else 3
    total = row.samples * (passes * products + 3 * attention)
    if row.cached:
        return float(total)
    time_patches, rows, columns = sizes.grid
    width, frame = vision["hidden_size"], rows * columns
    patches = time_patches * frame
    per_block = 4 * width**2 + 2 * width * vision["intermediate_size"]
    merged = 4 * width
    mergers = (1 + len(vision["deepstack_visual_indexes"])) * (merged**2 + merged * vision["out_hidden_size"])
    tower = 2 * patches * per_block * vision["depth"] + 2 * patches // 4 * mergers
    tower_attention = 4 * patches * frame * width * vision["depth"]
    return float(total + (1 if row.lora else 3) * (tower + tower_attention))


def flat_gradients(model: nn.Module, *, lora: bool) -> Tensor:
    """Return the gradients of every adapter, or of some full weights, in float32 and one row."""
    chosen = [
        parameter.grad.float().flatten()
        for name, parameter in sorted(model.named_parameters())
        if parameter.grad is not None and (lora or any(part in name for part in COMPARED))
    ]
    return torch.cat(chosen)


def keep_compared(model: nn.Module) -> None:
    """Freeze the full weights that are not compared: their gradients in float32 would not fit beside the weights."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = any(part in name for part in COMPARED)


def agreement(sizes: Sizes, device: torch.device, *, lora: bool) -> Iterator[dict[str, Any]]:
    """Yield how far gradients are from those of plain transformers in float32, in either precision."""
    found: dict[str, Tensor] = {}
    exact, fast = torch.float32, torch.bfloat16
    for name, dtype in (("plain float32", exact), ("ours float32", exact), ("plain bfloat16", fast), ("ours", fast)):
        model = build(sizes, device, lora=lora, dtype=dtype)
        if not lora:
            keep_compared(model)
        sample = Sample.draw(sizes, parts(model).config, device)
        if name.startswith("ours"):
            batch = packed([sample], None)
            network = Network(model, PixelFormat(), Execution(1.0, compile=device.type == "cuda"))
            (network(batch) / batch.num_labels).backward()
        else:
            parts(model).gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            parts(model).enable_input_require_grads()
            plain_loss(model, sample, fused=False).backward()
        found[name] = flat_gradients(model, lora=lora).cpu()
        del model
        release(device)
    reference = found.pop("plain float32")
    for name, got in found.items():
        yield {
            "gradients": ("LoRA, " if lora else "full, ") + name,
            "relative_difference": (torch.linalg.norm(got - reference) / torch.linalg.norm(reference)).item(),
            "cosine": F.cosine_similarity(got.double(), reference.double(), dim=0).item(),
        }


@dataclass
class Report:
    """What was measured so far."""

    matmul_flop_per_second: float
    device: str = field(default_factory=lambda: torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU")
    torch: str = torch.__version__
    rows: list[dict[str, Any]] = field(default_factory=list)
    gradients: list[dict[str, Any]] = field(default_factory=list)

    def text(self) -> str:
        rate = self.matmul_flop_per_second
        lines = [f"{self.device}, torch {self.torch}; matrix product {rate / 1e12:.0f} TFLOP/s", ""]
        lines += ["| step | ms | tokens/s | against plain | reserved GiB | MFU |", "|---|---|---|---|---|---|"]
        peers = {row["row"].split(",")[0]: row["seconds"] for row in self.rows if row["row"] in PEERS.values()}
        for row in self.rows:
            peer = peers.get(row["row"].split(",")[0])
            ratio = f"{peer / row['seconds']:.2f}x" if peer else "-"
            share = row["flop"] / row["seconds"] / rate
            numbers = f"{1000 * row['seconds']:.0f} | {row['tokens_per_second']:,.0f} | {ratio} | {row['gib']:.1f}"
            lines.append(f"| {row['row']} | {numbers} | {share:.0%} |")
        return "\n".join([*lines, "", *(json.dumps(one) for one in self.gradients)])

    def write(self, folder: Path | None) -> None:
        print(json.dumps(self.rows[-1:]), flush=True)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "cosmos_reason_train.json").write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
            (folder / "cosmos_reason_train.md").write_text(self.text() + "\n", encoding="utf-8")
            self.draw(folder / "cosmos_reason_train.png")

    def draw(self, path: Path) -> None:
        """Draw milliseconds per step and reserved memory of every row, the peers in grey."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 0.42 * len(self.rows) + 1.4), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        names = [row["row"] for row in self.rows]
        colors = ["#8a8f98" if name in PEERS.values() else "#2f6fb0" for name in names]
        for axes, values, title in (
            (left, [1000 * row["seconds"] for row in self.rows], "ms per step"),
            (right, [row["gib"] for row in self.rows], "reserved GiB"),
        ):
            bars = axes.barh(names, values, color=colors)
            axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
            axes.set_title(title, fontsize=10)
            axes.margins(x=0.12)
            axes.spines[["top", "right"]].set_visible(False)
        left.invert_yaxis()
        figure.suptitle(f"Qwen3-VL-8B, 4,384 tokens a step, {self.device}, torch {self.torch}", fontsize=10)
        figure.savefig(path, dpi=110)


def release(device: torch.device) -> None:
    """Free the memory of what was measured."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the table and its numbers")
    parser.add_argument("--rows", default="*", help="run the rows whose name matches")
    parser.add_argument("--gradients", default="lora,full", help="compare the gradients of lora, full, both or none")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a check without a GPU")
    arguments = parser.parse_args()
    if not (arguments.tiny or torch.cuda.is_available()):
        print("The full size needs a GPU; nothing was measured. --tiny runs every row on a CPU.")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = tiny() if arguments.tiny else Sizes()
    report = Report(matmul_rate(device))
    for row in ROWS:
        if not fnmatch.fnmatch(row.name, arguments.rows):
            continue
        try:
            report.rows.append(measure(sizes, row, device))
        except torch.cuda.OutOfMemoryError as error:
            print(f"{row.name}: {str(error).splitlines()[0]}", flush=True)
        release(device)
        report.write(arguments.out)  # after each row: a run that is cut short leaves what it measured
    for mode in arguments.gradients.split(","):
        if mode in ("lora", "full"):
            report.gradients.extend(agreement(sizes, device, lora=mode == "lora"))
    report.write(arguments.out)
    print(report.text())


if __name__ == "__main__":
    main()
