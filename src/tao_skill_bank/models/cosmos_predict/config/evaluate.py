"""Spec of the evaluate action: geometric consistency and a judge's scores of generated videos."""

from typing import Literal

from tao_skill_bank.bank.parameters import group, parameter, spec_dataclass
from tao_skill_bank.models.cosmos_predict.config.shared import Seed


@spec_dataclass
class Sampson:
    """How the Sampson error of matched points is measured."""

    frame_gap: int = parameter(1, doc="Frames between the two frames of a pair.", minimum=1, automl=False)
    max_pairs: int = parameter(32, doc="Frame pairs per video, spread evenly.", minimum=1, automl=False)
    max_features: int = parameter(2000, doc="Features per frame.", minimum=8, automl=False)
    ransac_threshold_pixels: float = parameter(
        1.0, doc="Largest distance of an inlier from its epipolar line.", above=0, automl=False
    )
    view_separator: str = parameter(
        "__view",
        doc="NAME<separator>K.mp4 are views of the same scene, compared across views.",
        min_length=1,
        automl=False,
    )


@spec_dataclass
class Judge:
    """A vision language model that scores videos from 1 to 5: a checkpoint, or an OpenAI-compatible endpoint."""

    model: str | None = parameter(
        None,
        doc="Cosmos-Reason checkpoint: hf_model://ORG/NAME, a local folder or builtin://tiny-cosmos-reason.",
        min_length=1,
        automl=False,
        popular=True,
    )
    endpoint: str | None = parameter(
        None,
        doc="Base URL of an OpenAI-compatible server, such as http://localhost:8000/v1.",
        min_length=1,
        automl=False,
    )
    endpoint_model: str | None = parameter(
        None, doc="Model name to request from the endpoint.", min_length=1, automl=False
    )
    api_key_variable: str = parameter(
        "OPENAI_API_KEY", doc="Environment variable with the endpoint's API key, if it needs one.", automl=False
    )
    num_frames: int = parameter(16, doc="Frames of a video that the judge sees.", minimum=1, automl=False)
    total_pixels: int = parameter(
        3136000, doc="Pixel budget of one video for a local checkpoint.", minimum=1024, automl=False
    )
    temperature: float = parameter(0.6, doc="Sampling temperature of the judge.", minimum=0, automl=False)
    max_tokens: int = parameter(512, doc="Longest answer in tokens.", minimum=1, automl=False)
    max_retries: int = parameter(2, doc="Retries after an answer without a score.", minimum=0, automl=False)
    timeout_seconds: float = parameter(120.0, doc="Timeout of one request to the endpoint.", above=0, automl=False)


@spec_dataclass
class EvaluateConfig:
    """Compare base and adapters on generated videos."""

    generated_dir: str = parameter(
        doc="Run directory of generate, or a folder of mp4 files; a subfolder is a variant.",
        min_length=1,
        automl=False,
        popular=True,
    )
    reference_dir: str | None = parameter(
        None,
        doc="Real clips of the same names, scored for comparison with the generated ones.",
        min_length=1,
        automl=False,
    )
    limit: int | None = parameter(
        None,
        doc="Measure only the videos of N names, chosen by a hash of the names: of every variant and seed. None "
        "measures all.",
        minimum=1,
        automl=False,
    )
    metrics: list[Literal["sampson", "judge_physics", "judge_instruction"]] = parameter(
        ["sampson", "judge_physics", "judge_instruction"],
        doc="Metrics to compute.",
        min_length=1,
        automl=False,
        popular=True,
    )
    sampson: Sampson = group(Sampson, doc="How the Sampson error is measured.")
    judge: Judge = group(Judge, doc="The model that scores.")
    seeds: list[Seed] = parameter([0], doc="The judge scores every video once per seed.", min_length=1, automl=False)
    num_gpus: int = parameter(1, doc="GPUs that share the videos.", minimum=1, automl=False)
    results_dir: str | None = parameter(
        None,
        doc="Run directory; gets results.json, metrics_summary.json, comparison.csv and plots.",
        min_length=1,
        automl=False,
    )
