"""Spec of the train action: LoRA or DoRA adapters of the diffusion transformer."""

from typing import Annotated, Literal

from pydantic import Field

from tao_skill_bank.bank import early_stop, step_limit
from tao_skill_bank.bank.parameters import Search, group, parameter, spec_dataclass
from tao_skill_bank.models.cosmos_predict.config import shared
from tao_skill_bank.models.cosmos_predict.config.shared import Model

Probability = Annotated[float, Field(ge=0, le=1)]
TargetModule = Annotated[str, Field(min_length=1)]
BASE_RATE = 4.3e-5  # 2 ** -14.5


@spec_dataclass
class Lora:
    """Low-rank adapters; the base stays frozen."""

    r: int = parameter(32, doc="Rank.", minimum=1, search=Search(4, 128, math_cond="^ 2"), automl=True, popular=True)
    lora_alpha: int = parameter(
        32,
        doc="Scale numerator: updates are scaled by lora_alpha / r.",
        minimum=1,
        search=Search(4, 512, math_cond="^ 2", around=4, ratio_to="lora.r"),
        automl=True,
        popular=True,
    )
    lora_dropout: float = parameter(
        0.0, doc="Dropout on adapter inputs.", minimum=0, below=1, search=Search(0, 0.1), automl=True
    )
    use_dora: bool = parameter(
        False,
        doc="Train DoRA: the direction of a weight by LoRA, its magnitude by a separate vector.",
        search=Search(),
        automl=True,
        popular=True,
    )
    target_modules: list[TargetModule] = parameter(
        ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"],
        doc="Linear layers that get adapters, by the suffix of their names.",
        min_length=1,
        automl=False,
    )
    init_lora_weights: bool | Literal["gaussian"] = parameter(True, doc="Initialisation of the adapters.", automl=False)


@spec_dataclass
class Train:
    """Optimisation, precision and execution."""

    epoch: int = parameter(
        100,
        doc="Passes over the training clips, with one random window of each clip per epoch.",
        minimum=1,
        search=Search(10, 500),
        automl=True,
        popular=True,
    )
    stop_epoch: int | None = early_stop.field()
    max_steps: int | None = step_limit.field()
    batch_size: int = parameter(1, doc="Micro-batch: clips per GPU in one forward pass.", minimum=1, popular=True)
    gradient_accumulation_steps: int = parameter(1, doc="Micro-batches per optimizer step.", minimum=1, popular=True)
    optm_lr: float = parameter(
        BASE_RATE,
        doc="Learning rate that the schedule's factor multiplies; with f_max 0.5 the peak is half of it.",
        above=0,
        search=Search(BASE_RATE / 10, BASE_RATE * 10, log=True, around=10),
        automl=True,
        popular=True,
    )
    optm_weight_decay: float = parameter(0.001, doc="Decoupled weight decay.", minimum=0, search=Search(0, 0.1))
    optm_betas: list[Annotated[float, Field(ge=0, lt=1)]] = parameter(
        [0.9, 0.999],
        doc="AdamW's decay rates of the first and second moment.",
        min_length=2,
        max_length=2,
        automl=False,
    )
    epsilon: float = parameter(1e-8, doc="AdamW's epsilon.", above=0)
    optm_grad_norm_clip: float = parameter(1.0, doc="Gradient norm is clipped to this; 0 or less only logs the norm.")
    warmup_steps: int = parameter(1000, doc="Optimizer steps of linear warm-up from 0 to f_max.", minimum=0)
    schedule_steps: int = parameter(100000, doc="Optimizer steps of the linear decay from f_max to f_min.", minimum=1)
    f_max: float = parameter(0.5, doc="Factor of the learning rate after warm-up.", above=0)
    f_min: float = parameter(0.2, doc="Factor of the learning rate at the end of the schedule.", minimum=0)
    mixed_precision: Literal["bf16", "no"] = parameter(
        "bf16", doc="Type of frozen weights and activations; adapters are always float32.", automl=False
    )
    gradient_checkpointing: Literal["auto", "none", "pointwise", "selective", "full"] = parameter(
        "auto",
        doc="What the backward pass recomputes: none, all but attention and matrix products, all but self-attention, "
        "or everything. auto chooses the fastest that fits.",
        automl=False,
    )
    compile: Literal["auto", "true", "false"] = parameter(
        "auto", doc="Compile the transformer blocks; auto compiles on a GPU.", automl=False
    )
    seed: int = parameter(0, doc="Seed of data order, windows, noise and adapter initialisation.", minimum=0)
    ema_decay: float | None = parameter(
        None,
        doc="Decay of an exponential moving average of the adapters, which is then exported; none for no average.",
        above=0,
        below=1,
        automl=False,
    )
    first_loss_limit: float = parameter(
        1.5,
        doc="The training stops when its first loss is above this: the base has random or wrong weights. Predicting "
        "zero gives about 2, random weights about 3, a trained base well below 1. 0 disables the check.",
        minimum=0,
        automl=False,
    )
    resume: bool | Annotated[str, Field(min_length=1)] = parameter(
        False, doc="Continue from the newest checkpoint (true) or from the named one (path).", automl=False
    )
    output_dir: str = parameter("output", doc="Folder of checkpoints, metrics and logs.", min_length=1, automl=False)
    num_gpus: int = parameter(1, doc="GPUs per node.", minimum=1, automl=False, popular=True)
    num_nodes: int = parameter(1, doc="Nodes.", minimum=1, automl=False)


@spec_dataclass
class Flow:
    """The rectified flow that is learned, and how it is conditioned."""

    time_distribution: Literal["logitnormal", "uniform"] = parameter(
        "logitnormal", doc="Distribution of the time t: the logistic function of a normal variable, or uniform."
    )
    shift: float = parameter(5.0, doc="Shift s of the noise level: sigma = s t / (1 + (s - 1) t).", above=0)
    conditional_frames_probs: dict[Literal["0", "1", "2"], Probability] = parameter(
        {"1": 0.5, "2": 0.5},
        doc="Probability of each number of clean latent frames at the start of a clip. They sum to 1.",
        min_length=1,
        automl=False,
    )
    conditional_frame_timestep: float = parameter(
        0.0001, doc="Noise level passed to the transformer for clean frames; negative passes the clip's noise level."
    )
    cfg_dropout_prob: float = parameter(
        0.2, doc="Probability of dropping a clip's caption, for classifier-free guidance.", minimum=0, maximum=1
    )


@spec_dataclass
class Dataset:
    """Clips, captions and windows."""

    train_dir: str = parameter(
        doc="Folder with videos/ and captions (metas/*.txt, captions/*.json or metadata.csv).",
        min_length=1,
        automl=False,
    )
    val_dir: str | None = parameter(None, doc="Held-out clips in the same layout.", min_length=1, automl=False)
    test_size: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = parameter(
        0,
        doc="Validation clips split off the training set by clip name when no val_dir is given: "
        "a ratio below 1 or a count. 0 never splits.",
        automl=False,
    )
    height: int = shared.height()
    width: int = shared.width()
    num_frames: int = shared.num_frames()
    fps: int = shared.frames_per_second()
    aspect_buckets: bool = parameter(
        False,
        doc="Resize every clip to about the same area with its own aspect ratio, instead of one size for all.",
        automl=False,
    )
    caption_prefix: str = parameter("", doc="Prefix of every caption.", automl=False, free_text=True)
    windows_per_clip: int = parameter(
        4, doc="Random windows per clip in the latent cache; an epoch draws one of them.", minimum=1
    )
    cache_latents: bool = parameter(
        True,
        doc="Encode windows once and cache their latents on disk; off encodes a new window every time.",
        automl=False,
    )
    cache_text: bool = parameter(
        True, doc="Encode captions once and free the text encoder; off encodes them every time.", automl=False
    )
    on_bad_sample: Literal["stop", "skip"] = parameter(
        "stop",
        doc="What happens when a training clip cannot be decoded, also the second time: stop, or skip it and train on "
        "the next one of its size. Skipped clips are listed in the result.",
        automl=False,
    )
    max_bad_share: float = parameter(
        0.01,
        doc="Share of the training clips that may be skipped, over all GPUs; the training stops above it.",
        minimum=0,
        below=1,
        automl=False,
    )
    dataloader_num_workers: int = parameter(
        4, doc="Data loading threads per GPU, at most one per core; 0 loads synchronously.", minimum=0, automl=False
    )


@spec_dataclass
class Checkpointing:
    """When checkpoints are written and how many are kept."""

    save_freq_in_epoch: int = parameter(
        20, doc="Epochs between two checkpoints; the last epoch is always saved.", minimum=1, automl=False
    )
    max_keep: int = parameter(
        3,
        doc="Newest checkpoints kept; -1 keeps all. The best and the newest are never deleted.",
        minimum=-1,
        automl=False,
    )


@spec_dataclass
class Validation:
    """Loss on held-out clips at fixed noise and times, and sample videos."""

    enable: bool = parameter(True, doc="Compute the validation loss.", automl=False)
    freq_in_epoch: int = parameter(10, doc="Epochs between two validations.", minimum=1, automl=False)
    num_samples: int = parameter(
        4, doc="Noise levels at which every held-out clip is scored; the same ones every time.", minimum=1, automl=False
    )
    sample_videos: int = parameter(
        0, doc="Held-out clips to generate at every validation, for visual inspection.", minimum=0, automl=False
    )
    sample_steps: int = parameter(36, doc="Denoising steps of those videos.", minimum=1, automl=False)


@spec_dataclass
class Logging:
    """Destinations of metrics besides metrics.jsonl."""

    logger: list[Literal["console", "tao", "wandb", "tensorboard"]] = parameter(
        ["console", "tao"], doc="Destinations of metrics.", automl=False
    )
    project_name: str = parameter("cosmos-predict", doc="Project name in external loggers.", min_length=1, automl=False)
    experiment_name: str = parameter("cosmos-predict", doc="Run name in external loggers.", min_length=1, automl=False)


@spec_dataclass
class TrainConfig:
    """LoRA or DoRA fine-tuning of a Cosmos-Predict2.5 video model on captioned clips."""

    dataset: Dataset = parameter(doc="Clips, captions and windows.", automl=False)
    model: Model = group(Model, doc="The frozen base pipeline.")
    lora: Lora = group(Lora, doc="Low-rank adapters.")
    train: Train = group(Train, doc="Optimisation, precision and execution.")
    flow: Flow = group(Flow, doc="The rectified flow that is learned.")
    ckpt: Checkpointing = group(Checkpointing, doc="Checkpoints.")
    validation: Validation = group(Validation, doc="Loss on held-out clips, and sample videos.")
    logging: Logging = group(Logging, doc="Destinations of metrics.")
    results_dir: str | None = parameter(
        None, doc="Run directory; holds status.jsonl, metrics.jsonl and logs.", min_length=1, automl=False
    )
