"""The options of a search in a request (`automl:`)."""

from dataclasses import field
from typing import Literal

from tao_skill_bank.contracts import contract

LANGUAGE_NAMES = ("llm", "hybrid", "autoresearch")  # ask an endpoint
CLASSICAL_NAMES = (
    "bayesian",
    "tpe",
    "bfbo",
    "random",
    "grid",
    "cmaes",
    "hyperband",
    "hyperband_es",
    "asha",
    "bohb",
    "pbt",
)
NAMES = (*CLASSICAL_NAMES, *LANGUAGE_NAMES)
REFUSED_NAMES = ("dehb",)  # `algorithms` says why
Direction = Literal["minimize", "maximize"]
KeptTrials = Literal["best", "all"]
Objective = Literal["metric", "cost"]
Scalar = bool | int | float | str


@contract
class Endpoint:
    """An OpenAI-compatible server. The key is read from the variable of that name, and only there.

    Attributes:
        base_url: of the server, such as https://HOST/v1.
        model: name of a model that it serves.
        api_key_variable: environment variable that holds the key; none for a server without keys.
        temperature: sent with every question; none for servers that refuse it.
        max_tokens: of a reply; none for servers that refuse it.
        timeout_seconds: longest wait for one reply.
        retries: further tries after a lost connection, a timeout or a busy server.
        attempts: replies that may be unusable before the model counts as failed.

    """

    base_url: str
    model: str
    api_key_variable: str | None = None
    temperature: float | None = 0.0
    max_tokens: int | None = 4096
    timeout_seconds: float = 120.0
    retries: int = 2
    attempts: int = 4


@contract
class Range:
    """The domain that a request gives a parameter: bounds, one of which may be left out, or the values to choose from.

    Numbers are values of the spec, both bounds included.

    Attributes:
        minimum: lowest value, inside the schema's bounds.
        maximum: highest value, inside the schema's bounds.
        choices: the only values that are tried, in place of bounds.

    """

    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: tuple[Scalar, ...] | None = None


@contract
class AutomlOptions:
    """How a search is done. Every field has a default, so that `automl: {}` is a search.

    Attributes:
        algorithm: how points are proposed, and which trials may resume.
        max_trials: maximum number of trainings, the recipe's included.
        parallel: trials that run at once, each on processes of its own.
        seed: of the algorithm; the same seed and the same scores give the same points.
        metric: a metric of metrics.jsonl, or ACTION:METRIC of an action that scores checkpoints; none for the skill's.
        direction: of a metric that is not the skill's own.
        parameters: spec paths that are searched, and no others; none for the schema's defaults.
        add: further spec paths that are searched.
        exclude: spec paths that are not searched; a group stands for all that is in it.
        ranges: a domain by spec path, instead of the schema's and inside it.
        objectives: what is minimised; with cost, the metric and the GPU hours are weighed against each other.
        max_hours: wall-clock time, after which nothing is begun and running trials are stopped.
        max_gpu_hours: of all trials together, after which nothing is begun and running trials are stopped.
        min_epochs: the first rung of an algorithm that pauses trials; none for max_epochs / eta / eta.
        max_epochs: the last rung; none for the request's own epochs.
        eta: factor between two rungs.
        storage: none for SQLite in the run directory, or a postgresql:// URL without a password.
        endpoint: an OpenAI-compatible server, for the algorithms that ask a language model.
        fallback: the algorithm that proposes when the endpoint fails; none stops the search instead.
        keep_trials: whose checkpoints stay when the search has ended; best (for none) keeps those of the best trial, of
            paused ones and of any job's parent, all keeps every trial's.
        noise: by how much a score has to be better for autoresearch; none for a hundredth of the recipe's.
        repeats: trainings of the recipe with other seeds when the search has ended, which show the noise of its score;
            none for one where no evaluation compares the best with the recipe.

    """

    algorithm: str = "bayesian"
    max_trials: int = 10
    parallel: int = 1
    seed: int = 0
    metric: str | None = None
    direction: Direction | None = None
    parameters: tuple[str, ...] | None = None
    add: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ranges: dict[str, Range] = field(default_factory=dict)
    objectives: tuple[Objective, ...] = ("metric",)
    max_hours: float | None = None
    max_gpu_hours: float | None = None
    min_epochs: int | None = None
    max_epochs: int | None = None
    eta: int = 3
    storage: str | None = None
    endpoint: Endpoint | None = None
    fallback: str | None = None
    noise: float | None = None
    repeats: int | None = None
    keep_trials: KeptTrials | None = None  # none in plans of earlier releases, whose searches keep all


@contract
class Metric:
    """The metric that compares trials: of the action that scores every checkpoint, or without one of the training."""

    name: str
    direction: Direction
    action: str | None = None

    @property
    def title(self) -> str:
        """Its name as a request writes it."""
        return f"{self.action}:{self.name}" if self.action else self.name
