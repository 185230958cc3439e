"""One training step of a Cosmos-Predict2.5-2B adapter: ours beside a plain diffusers step, in one run on one GPU.

    python benchmarks/cosmos_predict_train.py [--out FOLDER] [--rows PATTERN] [--tiny]

Full size with random weights: 432x768, 93 frames, batch 1, rank 32 on the attention and feed-forward projections. The
peer is what a plain script of diffusers and peft does: the VAE and the text encoder in every step, gradient
checkpointing, eager, autocast to bfloat16, AdamW. `--tiny` runs every row in seconds, also without a GPU, and says
nothing about speed.
"""

import argparse
import fnmatch
import gc
import json
import statistics
import time
import types
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from support.ceiling import matmul_rate
from tao_skill_bank.models.cosmos_predict import transformer
from tao_skill_bank.models.cosmos_predict.geometry import ClipShape
from tao_skill_bank.models.cosmos_predict.transformer import Denoiser, Execution, project_context

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
CONDITION_SIGMA = 1e-4
SHIFT = 5.0
LEARNING_RATE, WEIGHT_DECAY, CLIP = 4.3e-5, 1e-3, 1.0
GIB = 1024**3


@dataclass(frozen=True)
class Sizes:
    """Everything that `--tiny` makes small."""

    clip: ClipShape = field(default_factory=lambda: ClipShape(93, 432, 768))
    heads: int = 16
    head_dim: int = 128
    layers: int = 28
    text_tokens: int = 512
    text: dict[str, Any] = field(
        default_factory=lambda: {
            "vocab_size": 152064,
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        }
    )
    vae: dict[str, Any] = field(default_factory=dict)
    context: int = 1024
    rank: int = 32
    steps: int = 3

    @property
    def text_features(self) -> int:
        features: int = self.text["hidden_size"] * self.text["num_hidden_layers"]
        return features


TINY = Sizes(
    clip=ClipShape(5, 32, 48),
    heads=2,
    head_dim=24,
    layers=2,
    text_tokens=8,
    text={
        "vocab_size": 100,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
    },
    vae={"base_dim": 8, "num_res_blocks": 1},
    context=24,
    rank=4,
    steps=2,
)


@dataclass
class Models:
    """The frozen parts, and one sample."""

    sizes: Sizes
    device: torch.device
    dit: Any
    vae: Any
    text_encoder: Any
    video: Tensor
    token_ids: Tensor
    latents: Any = None
    text: Any = None

    def encode_once(self) -> None:
        """Fill the cache and forget the encoders: a cached step has neither on the GPU."""
        if self.latents is None:
            self.latents, self.text = encode_video(self), encode_text(self)
            self.vae = self.text_encoder = None


def build(sizes: Sizes, device: torch.device) -> Models:
    """Random weights of the sizes of the published ones, made on the device."""
    from diffusers import AutoencoderKLWan, CosmosTransformer3DModel
    from transformers import Qwen2_5_VLTextConfig, Qwen2_5_VLTextModel

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with device:
        dit = CosmosTransformer3DModel(
            in_channels=17,
            out_channels=16,
            num_attention_heads=sizes.heads,
            attention_head_dim=sizes.head_dim,
            num_layers=sizes.layers,
            text_embed_dim=sizes.context,
            adaln_lora_dim=2 * sizes.head_dim,
            rope_scale=(1.0, 3.0, 3.0),
            extra_pos_embed_type=None,
            use_crossattn_projection=True,
            crossattn_proj_in_channels=sizes.text_features,
            encoder_hidden_states_channels=sizes.context,
        )
        vae = AutoencoderKLWan(**sizes.vae)
        text_encoder = Qwen2_5_VLTextModel(Qwen2_5_VLTextConfig(**sizes.text))
        video = torch.rand(1, 3, sizes.clip.num_frames, sizes.clip.height, sizes.clip.width) * 2 - 1
        token_ids = torch.randint(0, sizes.text["vocab_size"], (1, sizes.text_tokens))
    torch.set_default_dtype(torch.float32)
    for model in (dit, vae, text_encoder):
        model.to(torch.bfloat16).requires_grad_(False).eval()
    return Models(sizes, device, dit, vae, text_encoder, video.to(torch.bfloat16), token_ids)


def adapt(models: Models, *, use_dora: bool) -> list[nn.Parameter]:
    """Give the transformer a fresh adapter with float32 parameters; B is not zero, so that A has gradients."""
    from peft import LoraConfig

    if getattr(models.dit, "_hf_peft_config_loaded", False):
        models.dit.delete_adapters("default")
    torch.manual_seed(1)
    rank = models.sizes.rank
    models.dit.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS, use_dora=use_dora))
    parameters = [parameter for parameter in models.dit.parameters() if parameter.requires_grad]
    for name, parameter in models.dit.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.01)
    models.dit.train()
    return parameters


@torch.no_grad()
def encode_video(models: Models) -> Tensor:
    latents: Tensor = models.vae.encode(models.video).latent_dist.mode()
    config, shape = models.vae.config, (1, -1, 1, 1, 1)
    mean, deviation = (
        torch.tensor(values).view(shape).to(latents) for values in (config.latents_mean, config.latents_std)
    )
    return (latents - mean) / deviation


def speed_up(vae: nn.Module) -> None:
    """Lay out the weights of 3-D convolutions as the tensor cores read them, and make each norm one kernel."""
    for parameter in vae.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    for module in vae.modules():
        if type(module).__name__ == "WanRMS_norm":
            module.compile(dynamic=True)


@torch.no_grad()
def encode_text(models: Models) -> Tensor:
    """Return the normalised hidden states of every layer, side by side."""
    hidden = models.text_encoder(models.token_ids, output_hidden_states=True).hidden_states[1:]
    normed = [(layer - layer.mean(-1, keepdim=True)) / (layer.std(-1, keepdim=True) + 1e-8) for layer in hidden]
    return torch.cat(normed, dim=-1)


@dataclass(frozen=True)
class Sample:
    """Noise on the latents of one clip, the first latent frame kept clean."""

    noisy: Tensor
    target: Tensor
    condition_mask: Tensor
    sigmas: Tensor

    @classmethod
    def draw(cls, latents: Tensor) -> "Sample":
        time_drawn = torch.sigmoid(torch.randn((), device=latents.device))
        sigma = SHIFT * time_drawn / (1 + (SHIFT - 1) * time_drawn)
        noise = torch.randn_like(latents)
        mask = torch.zeros_like(latents[:, :1])
        mask[:, :, 0] = 1
        noisy = torch.where(mask == 1, latents, sigma * noise + (1 - sigma) * latents)
        sigmas = torch.where(mask[:, 0, :, 0, 0] == 1, CONDITION_SIGMA, sigma).float()
        return cls(noisy.to(latents.dtype), noise - latents, mask, sigmas)

    def loss(self, velocity: Tensor) -> Tensor:
        squared = (velocity.float() - self.target.float()).square()
        return (squared * (1 - self.condition_mask)).mean()


Forward = Callable[[Sample, Tensor], Tensor]


def plain_forward(models: Models) -> Forward:
    """The forward of diffusers with the layers of peft as they are, under autocast, with gradient checkpointing."""
    models.dit.enable_gradient_checkpointing()
    height, width = models.sizes.clip.height, models.sizes.clip.width
    padding = models.video.new_zeros(1, 1, height, width)

    def forward(sample: Sample, text: Tensor) -> Tensor:
        with torch.autocast(models.device.type, dtype=torch.bfloat16):
            out: Tensor = models.dit(
                sample.noisy,
                sample.sigmas[:, None, :, None, None],
                text,
                condition_mask=sample.condition_mask,
                padding_mask=padding,
                return_dict=False,
            )[0]
        return out

    return forward


def our_forward(models: Models, execution: Execution) -> Forward:
    denoiser = Denoiser(models.dit, execution)

    def forward(sample: Sample, context: Tensor) -> Tensor:
        out: Tensor = denoiser(sample.noisy, sample.condition_mask, sample.sigmas, context)
        return out

    return forward


@dataclass(frozen=True)
class Row:
    """One way to take the step.

    Attributes:
        execution: of our forward; None is diffusers' own.
        cached: whether latents and text come from a cache.
        flash: whether FlashAttention-4 may be used.
        compare: whether to compare its gradients with those of plain diffusers.

    """

    name: str
    execution: Execution | None
    cached: bool = True
    use_dora: bool = False
    flash: bool = True
    compare: bool = False


ROWS = (
    Row("plain diffusers", None, cached=False),
    Row("ours, pointwise checkpointing, no cache", Execution("pointwise", compile=True), cached=False),
    Row("ours, pointwise checkpointing", Execution("pointwise", compile=True)),
    Row("ours, pointwise checkpointing, without FlashAttention-4", Execution("pointwise", compile=True), flash=False),
    Row("ours, selective checkpointing", Execution("selective", compile=True), compare=True),
    Row("ours, pointwise checkpointing, DoRA", Execution("pointwise", compile=True), use_dora=True, compare=True),
    Row("ours, full checkpointing", Execution("full", compile=True)),
    Row("ours, full checkpointing, eager", Execution("full")),
    Row("plain diffusers, latents and text cached", None),
    Row("ours, no checkpointing", Execution("none", compile=True)),
)


def make_step(models: Models, row: Row) -> Callable[[], float]:
    """Return a function that takes one optimizer step and returns the loss."""
    parameters = adapt(models, use_dora=row.use_dora)
    ours = row.execution is not None
    optimizer = torch.optim.AdamW(
        parameters,
        LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        fused=True if ours and models.device.type == "cuda" else None,
    )
    forward = plain_forward(models) if row.execution is None else our_forward(models, row.execution)
    if ours and not row.cached:
        speed_up(models.vae)

    def text() -> Tensor:
        features = encode_text(models)
        return project_context(models.dit, features).detach() if ours else features

    def encoded() -> tuple[Tensor, Tensor]:
        if not row.cached:
            return encode_video(models), text()
        return models.latents, project_context(models.dit, models.text).detach() if ours else models.text

    kept = encoded() if row.cached else None

    def step() -> float:
        latents, context = kept or encoded()
        sample = Sample.draw(latents)
        loss = sample.loss(forward(sample, context))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def measure(models: Models, row: Row) -> dict[str, Any]:
    """Return seconds of the first step and of a median one, and the memory reserved at the peak of the steps."""
    cuda = models.device.type == "cuda"
    with mock.patch.object(transformer, "flash_fits", transformer.flash_fits if row.flash else lambda *_: False):
        step = make_step(models, row)
        began = time.perf_counter()
        step()
        first = time.perf_counter() - began
        step()
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(models.sizes.steps):
            began = time.perf_counter()
            step()  # ends with the loss on the host: the device is done
            seconds.append(time.perf_counter() - began)
    return {
        "row": row.name,
        "seconds": statistics.median(seconds),
        "spread": max(seconds) - min(seconds),
        "first": first,
        "gib": torch.cuda.max_memory_reserved() / GIB if cuda else 0.0,
        "allocated_gib": torch.cuda.max_memory_allocated() / GIB if cuda else 0.0,
    }


def gradients(models: Models, forward: Forward, context: Tensor, latents: Tensor) -> Tensor:
    torch.manual_seed(2)
    models.dit.zero_grad()
    sample = Sample.draw(latents)
    sample.loss(forward(sample, context)).backward()
    trained = [parameter.grad.flatten() for parameter in models.dit.parameters() if parameter.grad is not None]
    return torch.cat(trained)


def agreement(models: Models, row: Row) -> dict[str, float]:
    """Compare the gradients of one step in all adapter tensors with those of diffusers and peft."""
    assert row.execution is not None
    adapt(models, use_dora=row.use_dora)
    expected = gradients(models, plain_forward(models), models.text, models.latents)
    context = project_context(models.dit, models.text).detach()
    got = gradients(models, our_forward(models, row.execution), context, models.latents)
    difference = torch.linalg.norm(got - expected) / torch.linalg.norm(expected)
    return {"relative_difference": difference.item(), "cosine": F.cosine_similarity(got, expected, dim=0).item()}


def step_flop(sizes: Sizes) -> float:
    """Operations of one step that no method can leave out: weights are frozen, so they have no gradients."""
    tokens, width, layers = sizes.clip.tokens, sizes.heads * sizes.head_dim, sizes.layers
    attention = 4 * tokens * (tokens + sizes.text_tokens) * width
    frozen = 2 * tokens * (6 * width**2 + 2 * 4 * width**2)
    adapters = 2 * tokens * sizes.rank * (6 * 2 * width + 2 * 5 * width)
    return float(layers * (3 * attention + 2 * frozen + 3 * adapters))


@dataclass
class Report:
    """What was measured so far."""

    matmul_flop_per_second: float
    flop: float
    sizes: Sizes
    device: str = field(default_factory=lambda: torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU")
    torch: str = torch.__version__
    rows: list[dict[str, Any]] = field(default_factory=list)
    gradients: list[dict[str, Any]] = field(default_factory=list)

    def text(self) -> str:
        rate = self.matmul_flop_per_second
        head = f"{self.device}, torch {self.torch}; {self.flop / 1e12:.0f} TFLOP a step; matrix product "
        lines = [f"{head}{rate / 1e12:.0f} TFLOP/s", ""]
        lines += ["| step | s | against plain | reserved GiB | MFU |", "|---|---|---|---|---|"]
        peer = next((row["seconds"] for row in self.rows if row["row"] == ROWS[0].name), None)
        for row in self.rows:
            ratio = f"{peer / row['seconds']:.2f}x" if peer else "-"
            share = self.flop / row["seconds"] / rate
            lines.append(f"| {row['row']} | {row['seconds']:.3f} | {ratio} | {row['gib']:.1f} | {share:.0%} |")
        return "\n".join([*lines, "", *(json.dumps(one) for one in self.gradients)])

    def write(self, folder: Path | None) -> None:
        print(json.dumps(self.rows[-1:] + self.gradients[-1:]), flush=True)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            document = json.dumps(asdict(self), indent=2)
            (folder / "cosmos_predict_train.json").write_text(document, encoding="utf-8")
            (folder / "cosmos_predict_train.md").write_text(self.text() + "\n", encoding="utf-8")


def provide_resize() -> None:
    """Give diffusers' forward the one function of torchvision that it calls, where torchvision is not installed."""
    from diffusers.models.transformers import transformer_cosmos

    def resize(image: Tensor, size: list[int], interpolation: str) -> Tensor:
        return F.interpolate(image, size=size, mode=interpolation)

    if not hasattr(transformer_cosmos, "transforms"):
        functional = types.SimpleNamespace(resize=resize)
        modes = types.SimpleNamespace(NEAREST="nearest")
        transformer_cosmos.transforms = types.SimpleNamespace(functional=functional, InterpolationMode=modes)


def release(models: Models, device: torch.device) -> None:
    """Free the memory of a row."""
    models.dit.zero_grad()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the table and its numbers")
    parser.add_argument("--rows", default="*", help="run the rows whose name matches")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a check without a GPU")
    arguments = parser.parse_args()
    if not (arguments.tiny or torch.cuda.is_available()):
        print("The full size needs a GPU; nothing was measured. --tiny runs every row on a CPU.")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = TINY if arguments.tiny else Sizes()
    provide_resize()
    models = build(sizes, device)
    report = Report(matmul_rate(device), step_flop(sizes), sizes)
    for row in ROWS:
        if not fnmatch.fnmatch(row.name, arguments.rows):
            continue
        if row.cached:
            models.encode_once()
            release(models, device)
        try:
            report.rows.append(measure(models, row))
            if row.compare:
                report.gradients.append({"row": row.name} | agreement(models, row))
        except torch.cuda.OutOfMemoryError as error:
            print(f"{row.name}: {str(error).splitlines()[0]}", flush=True)
        release(models, device)
        report.write(arguments.out)  # after each row: a run that is cut short leaves what it measured
    print(report.text())


if __name__ == "__main__":
    main()
