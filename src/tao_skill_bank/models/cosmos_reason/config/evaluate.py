"""Spec of the evaluate action: flat top-level keys, as in the public evaluator."""

from typing import Annotated, Literal

from pydantic import Field

from tao_skill_bank.bank.parameters import group, parameter, spec_dataclass
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling


@spec_dataclass
class EvaluationData:
    """Questions with known answers and their media."""

    annotation_path: str = parameter(doc="LLaVA annotation file (.json or .jsonl).", min_length=1)
    media_dir: str = parameter(
        doc="Folder, videos.tar.gz or images.tar.gz that media names are relative to.", min_length=1
    )
    system_prompt: str = parameter("", doc="System prompt of every question; empty for none.", free_text=True)


@spec_dataclass
class EvaluatedModel:
    """The checkpoint to evaluate."""

    model_name: str = parameter(
        "nvidia/Cosmos-Reason2-8B",
        doc="hf_model://ORG/NAME, a checkpoint folder, or an adapter folder together with enable_lora.",
        min_length=1,
        popular=True,
    )
    save_folder: str = parameter("", doc="Subfolder of results_dir for this model's results; empty for none.")
    tokenizer_model_name: str = parameter("", doc="Tokenizer to use instead of the model's own; empty for its own.")
    dtype: Literal["float32", "float16", "bfloat16"] = parameter("bfloat16", doc="Type of weights and activations.")
    max_length: int = parameter(128000, doc="Longest sequence in tokens, answer included.", minimum=1)
    tp_size: int = parameter(1, doc="Tensor parallel size; only 1 is implemented.", minimum=1, maximum=1)
    enable_lora: bool = parameter(False, doc="model_name is an adapter folder that is merged into base_model_path.")
    base_model_path: str = parameter("", doc="Base model of the adapter; required with enable_lora.")


@spec_dataclass
class Task:
    """The task, which determines how answers are scored."""

    type: Literal["", "its_directionality"] = parameter(
        "",
        doc="Empty: general (yes/no questions are detected). its_directionality: left, right or straight; not for "
        "collision detection.",
        popular=True,
    )


@spec_dataclass
class SoftAccuracy:
    """Counts an answer as right when its token F1 is high enough."""

    enabled: bool = parameter(False, doc="Also report soft accuracy.")
    f1_threshold: float = parameter(0.8, doc="Minimum token F1 of a right answer.", minimum=0, maximum=1)


@spec_dataclass
class Vllm:
    """The server that answers when the engine is vllm."""

    base_url: str | None = parameter(
        None,
        doc="OpenAI-compatible vLLM server, such as http://localhost:8000/v1; unset: each process starts its own "
        "`vllm serve` on its GPU and stops it after the run.",
        pattern=r"^https?://",
    )
    model: str = parameter("", doc="The server's name of the model; empty uses its only model.")
    api_key_variable: str = parameter(
        "OPENAI_API_KEY", doc="Environment variable with the server's API key, if it needs one."
    )
    timeout_seconds: float = parameter(600.0, doc="Timeout of one request.", above=0)
    max_retries: int = parameter(
        5, doc="Retries after a lost connection, a timeout or a busy server, with exponential backoff.", minimum=0
    )
    concurrency: int = parameter(16, doc="Concurrent questions per process.", minimum=1)
    start_seconds: float = parameter(1200.0, doc="Timeout for the process's own server to load the model.", above=0)
    gpu_memory_utilization: float = parameter(
        0.85, doc="Share of GPU memory for the process's own server.", above=0, maximum=1
    )


@spec_dataclass
class Evaluation:
    """How the evaluation runs."""

    answer_type: Literal["letter", "reasoning", "freeform", "naive"] = parameter(
        "freeform",
        doc="How the answer is read: a letter, the text after </think>, free text, or the raw response.",
    )
    scoring: Literal["generate", "choices"] = parameter(
        "generate",
        doc="generate: the model writes its answer. choices: yes/no, letters and directions are scored by the "
        "likelihood of each choice, with confidence and calibration; not with the engine vllm.",
        popular=True,
    )
    turns: Literal["last", "all"] = parameter(
        "last",
        doc="Questions of a record with several turns: the last one, or every one, each after the record's own "
        "earlier answers.",
    )
    num_processes: int = parameter(1, doc="Processes that decode media.", minimum=1)
    skip_saved: bool = parameter(False, doc="Reuse per-sample results that are already saved.")
    seed: int = parameter(1, doc="Seed of sampling when temperature is above 0.", minimum=0)
    limit: int = parameter(
        -1,
        doc="Evaluate only N records, chosen by a hash of their ids: the same ones for every model, and a larger limit "
        "adds to them. -1 evaluates all.",
        minimum=-1,
    )
    total_shard: int = parameter(1, doc="Number of shards of the records, or of the chosen ones.", minimum=1)
    shard_id: int = parameter(0, doc="Index of the shard that this run evaluates, from 0.", minimum=0)
    engine: Literal["transformers", "vllm"] = parameter(
        "transformers", doc="Generation engine: transformers in this process, or a vLLM server.", popular=True
    )
    vllm: Vllm = group(Vllm, doc="The server of the engine vllm.")
    batch_size: int = parameter(10, doc="Questions per generation call of transformers.", minimum=1, popular=True)
    soft_accuracy: SoftAccuracy = group(SoftAccuracy, doc="Soft accuracy.")


@spec_dataclass
class Generation:
    """How answers are generated."""

    max_retries: int = parameter(10, doc="Retries of reading an unreadable media file.", minimum=0)
    max_tokens: int = parameter(1024, doc="Longest answer in tokens.", minimum=1, popular=True)
    temperature: float = parameter(0.0, doc="0 is greedy decoding.", minimum=0)
    repetition_penalty: float = parameter(1.0, doc="Above 1 discourages repetition.", above=0)
    presence_penalty: float = parameter(0.0, doc="Penalty on tokens already present.", minimum=-2, maximum=2)
    frequency_penalty: float = parameter(0.0, doc="Penalty on tokens by their count.", minimum=-2, maximum=2)


@spec_dataclass
class Metrics:
    """Text metrics of the general task."""

    names: list[Literal["bleu", "rouge", "bertscore"]] = parameter(
        ["bleu", "rouge"], doc="Text metrics to compute; bertscore loads a 3 GB model."
    )
    bertscore_model: str = parameter(
        "microsoft/deberta-xlarge-mnli", doc="Model of BERTScore: hub id or folder.", min_length=1
    )
    bertscore_num_layers: int | None = parameter(
        None, doc="Layer whose output BERTScore compares; unset for the library's default.", minimum=1
    )


@spec_dataclass
class Results:
    """Files saved in addition to results.json."""

    save_individual_results: bool = parameter(True, doc="One JSON file per record under samples/.")
    save_confusion_matrix: bool = parameter(True, doc="confusion_matrix.png, if there are classes.")
    save_metrics_summary: bool = parameter(True, doc="metrics_summary.json.")


@spec_dataclass
class EvaluateConfig:
    """Evaluation of a checkpoint on annotated videos or images."""

    dataset: EvaluationData = parameter(doc="Questions with known answers.")
    model: EvaluatedModel = group(EvaluatedModel, doc="The checkpoint to evaluate.")
    task: Task = group(Task, doc="Kind of task.")
    evaluation: Evaluation = group(Evaluation, doc="How the evaluation runs.")
    vision: VideoSampling = group(VideoSampling, doc="Frame sampling and pixel budgets; as in training.")
    generation: Generation = group(Generation, doc="How answers are generated.")
    metrics: Metrics = group(Metrics, doc="Text metrics.")
    results: Results = group(Results, doc="Files to save.")
    num_gpus: Annotated[int, Field(ge=1)] = parameter(1, doc="GPUs (processes) that share the records.")
    results_dir: str | None = parameter(None, doc="Run directory; results.json is written here.", min_length=1)
