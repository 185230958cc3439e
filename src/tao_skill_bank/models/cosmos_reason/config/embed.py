"""Spec of the embed action: vectors of clips, or of clips and questions, for search and mining."""

from typing import Annotated, Literal

from pydantic import Field

from tao_skill_bank.bank.parameters import group, parameter, spec_dataclass
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling


@spec_dataclass
class EmbeddedData:
    """The records whose clips and questions are embedded; answers are not needed."""

    annotation_path: str = parameter(
        doc="LLaVA annotation file (.json or .jsonl); records may lack a conversation.", min_length=1
    )
    media_dir: str = parameter(
        doc="Folder, videos.tar.gz or images.tar.gz that media names are relative to.", min_length=1
    )
    system_prompt: str = parameter("", doc="System prompt of joint embeddings; empty for none.", free_text=True)


@spec_dataclass
class EmbeddingModel:
    """The checkpoint that embeds."""

    model_name: str = parameter(
        "nvidia/Cosmos-Reason2-8B",
        doc="hf_model://ORG/NAME, a checkpoint folder, or an adapter folder together with enable_lora.",
        min_length=1,
        popular=True,
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = parameter(
        "auto", doc="Type of weights and activations; auto is bfloat16 on a GPU and float32 on a CPU."
    )
    max_length: int = parameter(128000, doc="Longest prompt of a joint embedding in tokens.", minimum=1)
    enable_lora: bool = parameter(False, doc="model_name is an adapter folder that is merged into base_model_path.")
    base_model_path: str = parameter("", doc="Base model of the adapter; required with enable_lora.")


@spec_dataclass
class Embedding:
    """What is embedded, and how."""

    kind: Literal["vision", "joint"] = parameter(
        "vision",
        doc="vision: the mean of the vision tower's features, one row per clip; compares clips with clips. joint: the "
        "last hidden state of the prompt's last token; clips, questions and both are in one space.",
        popular=True,
    )
    content: Literal["both", "clip", "question"] = parameter(
        "both", doc="What the prompt of a joint embedding shows of a record.", popular=True
    )
    turns: Literal["last", "all"] = parameter(
        "last", doc="Questions of a record with several turns that are embedded: the last one, or every one."
    )
    batch_tokens: int = parameter(
        16384, doc="Tokens of one forward pass; a longer clip has a pass of its own.", minimum=1, popular=True
    )
    num_processes: int = parameter(8, doc="Processes per GPU that decode media ahead of the model.", minimum=0)
    on_bad_sample: Literal["stop", "skip"] = parameter(
        "stop",
        doc="What happens when a record or its media cannot be read, also the second time: stop, or leave it out. What "
        "was left out is listed in the result.",
    )
    max_bad_share: float = parameter(
        0.01, doc="Share of the rows that may be left out; the run stops above it.", minimum=0, below=1
    )


@spec_dataclass
class EmbedConfig:
    """Embeddings of the clips, or the clips and questions, of a dataset."""

    dataset: EmbeddedData = parameter(doc="What is embedded.")
    model: EmbeddingModel = group(EmbeddingModel, doc="The checkpoint that embeds.")
    embedding: Embedding = group(Embedding, doc="What is embedded, and how.")
    vision: VideoSampling = group(VideoSampling, doc="Frame sampling and pixel budgets.")
    num_gpus: Annotated[int, Field(ge=1)] = parameter(1, doc="GPUs (processes) that share the rows.")
    results_dir: str | None = parameter(None, doc="Run directory; embeddings.parquet is written here.", min_length=1)
