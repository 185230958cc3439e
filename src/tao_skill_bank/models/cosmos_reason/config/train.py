"""Spec of the train action: supervised fine-tuning, LoRA or full."""

from typing import Annotated, Literal

from pydantic import Field

from tao_skill_bank.bank import early_stop, step_limit
from tao_skill_bank.bank.parameters import Search, group, optional_group, parameter, spec_dataclass
from tao_skill_bank.models.cosmos_reason.config.shared import AnnotatedMedia, VideoSampling

Dtype = Literal["float32", "float16", "bfloat16"]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
LearningRate = Positive | Annotated[list[Positive], Field(min_length=2, max_length=4)]
LoraTarget = Literal[
    "q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj", "attn.qkv", "attn.proj", "all-linear"
]


@spec_dataclass
class Checkpointing:
    """When checkpoints are written and how many are kept."""

    enable_checkpoint: bool = parameter(True, doc="Write checkpoints.", automl=False)
    save_freq_in_epoch: int = parameter(
        1, doc="Epochs between two checkpoints; the last epoch is always saved.", minimum=1, automl=False
    )
    save_mode: Literal["async", "sync"] = parameter(
        "sync", doc="Whether training continues while a checkpoint is written (async) or waits (sync).", automl=False
    )
    max_keep: int = parameter(
        8,
        doc="Newest checkpoints kept; -1 keeps all. The best and the newest are never deleted.",
        minimum=-1,
        automl=False,
    )
    export_safetensors: bool = parameter(
        True, doc="Also write safetensors/epoch_N, for evaluate, PEFT and vLLM.", automl=False
    )


@spec_dataclass
class DatasetOptions:
    """Identity and automatic split of the training set."""

    name: str = parameter("its", doc="Name of the dataset; only a label.", automl=False)
    test_size: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = parameter(
        0,
        doc="Validation records split off the training set by record id when no validation set is given: "
        "a ratio below 1 or a count. 0 never splits.",
        automl=False,
    )


@spec_dataclass
class TrainPolicy:
    """The supervised fine-tuning loop and its data loading."""

    type: Literal["sft"] = parameter("sft", doc="Training mode; supervised fine-tuning only.", automl=False)
    mini_batch: int = parameter(
        4,
        doc="Micro-batch: samples per GPU in one forward pass, packed into one sequence; divides "
        "train_batch_per_replica. It is split further if it does not fit into memory; the result is the same.",
        minimum=1,
        popular=True,
    )
    enable_dataset_cache: bool = parameter(True, doc="Cache decoded and resized clips between epochs.", automl=False)
    vision_feature_cache: Literal["auto", "on", "off"] = parameter(
        "auto",
        doc="Encode every clip once and keep the features of a frozen vision tower on disk. auto does it for more than "
        "one epoch if the disk has space.",
        automl=False,
    )
    dataloader_num_workers: int = parameter(
        8,
        doc="Loader processes per GPU, at most one per core and per 8 batches of the run; 0 loads in the trainer.",
        minimum=0,
    )
    dataloader_prefetch_factor: int = parameter(8, doc="Batches prefetched per loader process.", minimum=1)
    conversation_column_name: str = parameter(
        "conversations", doc="Annotation key of the turns.", min_length=1, automl=False
    )
    dataset: DatasetOptions = group(DatasetOptions, doc="Dataset identity and automatic split.")


@spec_dataclass
class Fp8:
    """FP8 matrix multiplication."""

    enable_fp8: bool = parameter(
        False,
        doc="Compute the matrix products of the decoder's linear layers in FP8; needs sm_89 or newer.",
        automl=False,
    )
    fp8_recipe: Literal["dynamic_scaling", "delayed_scaling"] = parameter(
        "dynamic_scaling",
        doc="How FP8 scales are computed: from the current values. Delayed scaling is not supported by torchao.",
        automl=False,
    )
    quant_recipe: Literal["rowwise", "tensorwise"] = parameter(
        "rowwise",
        doc="Granularity of scales: per row (more accurate) or per tensor (faster). tensorwise needs enable_fp8.",
        automl=False,
    )


@spec_dataclass
class Train:
    """Optimisation, precision and checkpoints."""

    resume: bool | Annotated[str, Field(min_length=1)] = parameter(
        False, doc="Continue from the newest checkpoint (true) or from the named one (path).", automl=False
    )
    epoch: int = parameter(10, doc="Number of epochs.", minimum=1, search=Search(1, 20), automl=True, popular=True)
    stop_epoch: int | None = early_stop.field()
    max_steps: int | None = step_limit.field()
    compile: bool | Literal["auto"] = parameter(
        "auto",
        doc="Compile decoder layers and vision blocks: the first steps take a minute longer. auto compiles on a GPU.",
        popular=True,
    )
    train_batch_per_replica: int = parameter(
        32,
        doc="Samples per data-parallel rank and per optimizer step; a multiple of train_policy.mini_batch.",
        minimum=1,
        popular=True,
    )
    output_dir: str = parameter("output", doc="Folder of checkpoints, metrics and logs.", min_length=1, automl=False)
    seed: int = parameter(0, doc="Seed of data order, adapter initialisation and dropout.", minimum=0, automl=False)
    optm_lr: LearningRate = parameter(
        1e-6,
        doc="Peak learning rate, or a list of 2 to 4 for [llm, vision, projector, lm_head]. "
        "Unset, the recipe of the mode (LoRA or full) applies.",
        search=Search(1e-7, 1e-3, log=True, around=10),
        automl=True,
        popular=True,
    )
    optm_impl: Literal["fused", "foreach", "for-loop"] = parameter("fused", doc="Implementation of the optimizer step.")
    optm_weight_decay: float = parameter(0.01, doc="Decoupled weight decay.", minimum=0, search=Search(0, 0.1))
    optm_min_lr_factor: float = parameter(
        0.0, doc="Learning rate at the end of decay as a fraction of the peak.", minimum=0, maximum=1
    )
    optm_grad_norm_clip: float = parameter(1.0, doc="Gradient norm is clipped to this; 0 or less only logs the norm.")
    epsilon: float = parameter(1e-8, doc="Adam's epsilon.", above=0)
    optm_name: Literal["AdamW", "Adam"] = parameter("AdamW", doc="Optimizer.")
    optm_betas: list[Annotated[float, Field(ge=0, lt=1)]] = parameter(
        [0.9, 0.999], doc="Adam's decay rates of the first and second moment.", min_length=2, max_length=2, automl=False
    )
    optm_warmup_epochs: float = parameter(
        0.0,
        doc="Epochs of linear warm-up from 0.",
        minimum=0,
        search=Search(0, 10, math_cond="/ 2"),
        depends_on="train.epoch",
    )
    optm_decay_type: Literal["linear", "sqrt", "cosine", "none"] = parameter(
        "linear",
        doc="Shape of the learning rate decay after warm-up.",
        search=Search(),
        automl=True,
        option_weights=[0.1, 0.1, 0.4, 0.4],
    )
    master_dtype: Dtype = parameter("float32", doc="Type of the trained weights and optimizer states.")
    param_dtype: Dtype = parameter("bfloat16", doc="Type of weights and activations in forward and backward.")
    fsdp_reduce_dtype: Dtype = parameter("float32", doc="Type in which gradients are reduced across ranks.")
    fsdp_offload: bool = parameter(False, doc="Keep weights and optimizer states in host memory.")
    fsdp_reshard_after_forward: Literal["default", "true", "false"] = parameter(
        "default", doc="Free gathered weights after the forward pass: less memory, one more gather."
    )
    deterministic: bool = parameter(False, doc="Use deterministic kernels.", automl=False)
    ckpt: Checkpointing = group(Checkpointing, doc="Checkpoints.")
    train_policy: TrainPolicy = group(TrainPolicy, doc="Supervised fine-tuning and its data loading.")
    fp8: Fp8 = group(Fp8, doc="FP8 matrix multiplication.")


@spec_dataclass
class Validation:
    """Loss on held-out data during training."""

    enable: bool = parameter(True, doc="Compute the validation loss.", automl=False)
    freq_in_epoch: int = parameter(1, doc="Epochs between two validations.", minimum=1, automl=False)
    batch_size: int = parameter(4, doc="Samples per GPU in one validation forward pass.", minimum=1, automl=False)
    dataloader_num_workers: int = parameter(
        8, doc="Loader processes per GPU, at most one per core and per 8 batches of the run.", minimum=0, automl=False
    )
    dataloader_prefetch_factor: int = parameter(
        8, doc="Batches prefetched per loader process.", minimum=1, automl=False
    )
    enable_dataset_cache: bool = parameter(False, doc="Cache decoded and resized clips.", automl=False)


@spec_dataclass
class Parallelism:
    """Process mesh; the product of all sizes is the world size."""

    dp_shard_size: int = parameter(
        1, doc="GPUs per node, over which weights are sharded.", minimum=1, automl=False, popular=True
    )
    dp_replicate_size: int = parameter(1, doc="Nodes, each holding a full replica.", minimum=1, automl=False)
    tp_size: int = parameter(
        1,
        doc="Tensor parallel size; only 1: sharding with dp_shard_size is enough for dense models up to 32B.",
        minimum=1,
        maximum=1,
        automl=False,
    )
    cp_size: int = parameter(
        1,
        doc="Context parallel size; only 1: with gradient checkpointing the longest clip in budget fits on a GPU.",
        minimum=1,
        maximum=1,
        automl=False,
    )
    pp_size: int = parameter(
        1,
        doc="Pipeline parallel size; only 1: sharding with dp_shard_size is enough for dense models up to 32B.",
        minimum=1,
        maximum=1,
        automl=False,
    )
    n_init_replicas: int = parameter(
        1,
        doc="Initial policy replicas of reinforcement learning; always 1 in supervised fine-tuning.",
        minimum=1,
        maximum=1,
        automl=False,
    )


@spec_dataclass
class Lora:
    """Low-rank adapters. Without this block the whole model is trained."""

    r: int = parameter(8, doc="Rank.", minimum=1, search=Search(1, 256, math_cond="^ 2"), automl=True, popular=True)
    lora_alpha: int = parameter(
        8,
        doc="Scale numerator: updates are scaled by lora_alpha / r.",
        minimum=1,
        search=Search(1, 1024, math_cond="^ 2", around=4, ratio_to="policy.lora.r"),
        automl=True,
        popular=True,
    )
    lora_dropout: float = parameter(
        0.0, doc="Dropout on adapter inputs.", minimum=0, below=1, search=Search(0, 0.1), automl=True
    )
    target_modules: list[LoraTarget] = parameter(
        ["q_proj", "v_proj"],
        doc="Linear layers that get adapters; attn.qkv and attn.proj are the vision tower's.",
        min_length=1,
        automl=False,
        depends_on="policy.lora.modules_to_save",
    )
    modules_to_save: list[Literal["visual"]] = parameter(
        [], doc="Modules trained in full in addition to the adapters.", automl=False
    )
    use_dora: bool = parameter(False, doc="Train the magnitude of each output separately from its direction (DoRA).")
    use_rslora: bool = parameter(False, doc="Scale by lora_alpha / sqrt(r) instead.")
    init_lora_weights: bool | Literal["gaussian", "eva", "olora", "pissa"] = parameter(
        True,
        doc="Initialisation of the adapters; eva derives initial weights and ranks from the training data.",
    )
    load_in_4bit: bool = parameter(
        False, doc="Keep the decoder's frozen weights in 4 bits (QLoRA, NF4): a quarter of the memory.", automl=False
    )
    r_pattern: dict[str, Annotated[int, Field(ge=1)]] = parameter({}, doc="Rank per module name pattern.", automl=False)
    alpha_pattern: dict[str, Annotated[int, Field(ge=1)]] = parameter(
        {}, doc="lora_alpha per module name pattern.", automl=False
    )


@spec_dataclass
class Policy:
    """The model and its trainable parts."""

    model_name_or_path: str = parameter(
        "nvidia/Cosmos-Reason2-8B",
        doc="hf_model://ORG/NAME[@REVISION], a local checkpoint folder, or builtin://tiny-cosmos-reason.",
        min_length=1,
        automl=False,
        popular=True,
    )
    model_max_length: int = parameter(
        40960,
        doc="Longest sequence in tokens, vision tokens included; at least 40960 for video.",
        minimum=1,
        popular=True,
    )
    model_gradient_checkpointing: bool | Literal["auto"] | Annotated[float, Field(gt=0, lt=1)] = parameter(
        "auto",
        doc="Recompute activations in the backward pass: less memory, about a third more time. A number is the "
        "share of recomputed layers; auto chooses the smallest share that fits the GPU.",
    )
    frozen_parts: list[Literal["llm", "vision", "projector", "lm_head"]] = parameter(
        [], doc="Parts that full fine-tuning does not train.", automl=False
    )
    parallelism: Parallelism = group(Parallelism, doc="Process mesh.")
    lora: Lora | None = optional_group(doc="Low-rank adapters; remove the block for full fine-tuning.")


@spec_dataclass
class Logging:
    """Destinations of metrics besides metrics.jsonl."""

    logger: list[Literal["console", "tao", "wandb", "tensorboard"]] = parameter(
        ["console", "tao"], doc="Destinations of metrics.", automl=False
    )
    project_name: str = parameter("cosmos-rl", doc="Project name in external loggers.", min_length=1, automl=False)
    experiment_name: str = parameter("cosmos-rl", doc="Run name in external loggers.", min_length=1, automl=False)


@spec_dataclass
class Custom:
    """Data and its presentation to the model."""

    train_dataset: AnnotatedMedia = parameter(doc="Training data.", automl=False)
    val_dataset: AnnotatedMedia | None = parameter(None, doc="Validation data.", automl=False)
    vision: VideoSampling = group(VideoSampling, doc="Frame sampling and pixel budgets.")
    system_prompt: str = parameter(
        "", doc="System prompt of every conversation; empty for none.", automl=False, free_text=True
    )
    on_bad_sample: Literal["stop", "skip"] = parameter(
        "stop",
        doc="What happens when a training record cannot be read, also the second time: stop, or skip it and train on "
        "the next one in its place. Skipped records are listed in the result.",
        automl=False,
    )
    max_bad_share: float = parameter(
        0.01,
        doc="Share of the training records that may be skipped, over all GPUs; the training stops above it.",
        minimum=0,
        below=1,
        automl=False,
    )


@spec_dataclass
class TrainConfig:
    """Supervised fine-tuning of a Qwen3-VL checkpoint on video question answering."""

    custom: Custom = parameter(doc="Data and its presentation.", automl=False)
    train: Train = group(Train, doc="Optimisation, precision and checkpoints.")
    policy: Policy = group(Policy, doc="The model and its trainable parts.")
    validation: Validation = group(Validation, doc="Loss on held-out data during training.")
    logging: Logging = group(Logging, doc="Destinations of metrics.")
    results_dir: str | None = parameter(
        None, doc="Run directory; holds status.jsonl, metrics.jsonl and logs.", min_length=1, automl=False
    )
