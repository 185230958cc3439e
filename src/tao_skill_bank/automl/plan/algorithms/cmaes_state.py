"""The state that CMA-ES stores with a trial: its optimizer, which Optuna pickles and later reads with `pickle.loads`.

A study may lie in a database or a folder that others can write, and a pickle can execute code. So the stored state is
read here first, with an allow-list that admits only numbers, and Optuna receives a pickle of those.
"""

import pickle
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

from tao_skill_bank.automl.plan.history import Trial
from tao_skill_bank.core import admitted_pickle
from tao_skill_bank.core.admitted_pickle import Global
from tao_skill_bank.errors import BlockedError

KEY = "cma:optimizer"  # Optuna splits the pickle, in hexadecimal digits, into KEY:0, KEY:1, ...
ADMITTED: frozenset[Global] = frozenset(
    {
        ("cmaes._cma", "CMA"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),  # pickle protocol 5
    }
)


def admitted(trial: Trial) -> Trial:
    """Return a trial whose stored optimizer, if any, consists of numbers. Raises BlockedError when it does not."""
    parts = {name: text for name, text in trial.sampler.items() if name.startswith(KEY)}
    if not parts:
        return trial
    others = {name: value for name, value in trial.sampler.items() if name not in parts}
    return replace(trial, sampler={**others, f"{KEY}:0": pickle.dumps(_optimizer(trial, parts)).hex()})


def _optimizer(trial: Trial, parts: Mapping[str, Any]) -> Any:
    try:
        text = "".join(parts[f"{KEY}:{place}"] for place in range(len(parts)))
        return admitted_pickle.load(BytesIO(bytes.fromhex(text)), ADMITTED)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        message = f"The state of CMA-ES stored with trial {trial.number} in the study is refused: {error}."
        fix = "Restore a study that only you can write, or search again in another results_dir and storage."
        raise BlockedError.of("sampler_state_refused", message, fix, path="automl.storage") from None
