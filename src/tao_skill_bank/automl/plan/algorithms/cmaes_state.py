"""What CMA-ES keeps with a trial: its optimizer, which Optuna pickles and later reads with `pickle.loads`.

A study may lie in a database or a folder that others write, and a pickle runs what it names. So what a trial keeps is
read here first, as the numbers that it should be, and Optuna is given a pickle of those.
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
    """Return a trial whose optimizer, if it keeps one, is made of numbers. Raises BlockedError when it is not."""
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
        message = f"What CMA-ES kept with trial {trial.number} in the study's storage is not read: {error}."
        fix = "Put back a study that only you write, or search again in another results_dir and storage."
        raise BlockedError.of("sampler_state_refused", message, fix, path="automl.storage") from None
