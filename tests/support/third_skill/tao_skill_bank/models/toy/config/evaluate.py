"""The spec of an evaluation that reads how far a training came."""

from tao_skill_bank.bank.parameters import parameter, spec_dataclass


@spec_dataclass
class EvaluateConfig:
    run_dir: str | None = parameter(None, doc="Run directory of a training.", automl=False)
    checkpoint: str | None = parameter(None, doc="A model without a training.", automl=False)
    eval_dir: str | None = parameter(None, doc="What is evaluated on.", automl=False)
    results_dir: str | None = parameter(None, doc="Run directory.", automl=False)
