"""The spec of a training whose loss is a formula."""

from typing import Literal

from tao_skill_bank.bank.parameters import Search, group, parameter, spec_dataclass


@spec_dataclass
class Lora:
    r: int = parameter(8, doc="Rank.", minimum=1, search=Search(1, 64, math_cond="^ 2"), automl=True)
    lora_alpha: int = parameter(
        16,
        doc="Scale.",
        minimum=1,
        search=Search(1, 512, math_cond="^ 2", around=4, ratio_to="lora.r"),
        automl=True,
    )


@spec_dataclass
class Train:
    epoch: int = parameter(4, doc="Epochs.", minimum=1, search=Search(1, 9), automl=False)
    stop_epoch: int | None = parameter(None, doc="Last epoch of this run.", minimum=1, automl=False)
    resume: bool | str = parameter(False, doc="Go on.", automl=False)
    batch_size: int = parameter(4, doc="Samples a step.", minimum=1)
    optm_lr: float = parameter(
        1e-3, doc="Learning rate.", above=0, search=Search(1e-6, 1, log=True, around=10), automl=True
    )
    optm_decay_type: Literal["linear", "cosine"] = parameter(
        "linear", doc="Schedule.", search=Search(), option_weights=[0.2, 0.8], automl=True
    )
    seconds_per_epoch: float = parameter(0.0, doc="How long an epoch takes.", minimum=0, automl=False)
    gate: str | None = parameter(None, doc="A file without which no second epoch ends.", automl=False)
    fails_above_lr: float = parameter(1.0, doc="Learning rates above it fail.", above=0, automl=False)
    metric: str = parameter("val/avg_loss", doc="The metric that is written.", automl=False)


@spec_dataclass
class TrainConfig:
    lora: Lora = group(Lora, doc="Adapters.")
    train: Train = group(Train, doc="Training.")
    base: str | None = parameter(None, doc="A model to start from; its head is new.", automl=False)
    eval_dir: str | None = parameter(None, doc="What is validated on.", automl=False)
    results_dir: str | None = parameter(None, doc="Run directory.", automl=False)
