"""Search spaces of the bank's model skills, and of a made-up third one that has nothing but files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hypothesis import settings

from tao_skill_bank.automl.plan import option_reader, space
from tao_skill_bank.automl.plan.space import Space
from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.bank.parameters import Search, group, parameter, spec_dataclass
from tao_skill_bank.contracts import Request
from tao_skill_bank.errors import Problem, RequestError
from tao_skill_bank.spec import build

REASON = "tao-finetune-cosmos-reason"
UNHURRIED = settings(deadline=None, max_examples=60)  # a busy machine is no failure
DATASETS = {"train": "/data/train", "eval": "/data/val"}


@spec_dataclass
class Tower:
    """Layers of the made-up model."""

    width: int = parameter(64, doc="Width.", minimum=2, search=Search(8, 256, math_cond="^ 2"), automl=True)
    heads: int = parameter(
        8, doc="Heads.", minimum=1, search=Search(1, 64, math_cond="^ 2", around=2, ratio_to="tower.width"), automl=True
    )
    gain: float = parameter(
        0.75, doc="Gain.", above=0, search=Search(0.001, 100, around=8, ratio_to="tower.width"), automl=True
    )
    depth: int = parameter(4, doc="Layers.", minimum=1)
    norm: bool = parameter(False, doc="Normalise.", search=Search(), automl=True)
    name: str = parameter("tower", doc="A label.")
    parts: list[int] = parameter([1], doc="Parts.", automl=False)


@spec_dataclass
class MadeUpConfig:
    """Training of the made-up model."""

    rounds: int = parameter(12, doc="Rounds.", minimum=1, search=Search(2, 40), automl=True)
    rest: int = parameter(
        0, doc="Rounds of rest.", minimum=0, search=Search(0, 15, math_cond="/ 2"), automl=True, depends_on="rounds"
    )
    step: float = parameter(0.1, doc="Step.", above=0, search=Search(1e-4, 1, log=True, around=5), automl=True)
    tower: Tower = group(Tower, doc="Layers.")


def made_up(folder: Path) -> Skill:
    """Write the third skill: no line of the package names it."""
    skill = Skill(folder / "tao-finetune-made-up")
    for name in ("schemas", "references"):
        (skill.folder / name).mkdir(parents=True, exist_ok=True)
    info = {
        "network_arch": "made-up",
        "package": "made_up",
        "automl_enabled": True,
        "dataset_type": "none",
        "data_format": "none",
        "actions": {"train": {"summary": "Train."}},
    }
    (skill.folder / "references" / "skill_info.yaml").write_text(yaml.safe_dump(info))
    schema = schemas.action_schema(MadeUpConfig, skill.name, "train")
    skill.schema_path("train").write_text(json.dumps(schema))
    return skill


def recipe(skill: Skill, overrides: Mapping[str, Any] | None = None) -> build.Spec:
    """Return the spec of a training request."""
    datasets = DATASETS if skill.info.data_sources else {}
    if not datasets:  # the made-up skill has no rules to run
        values = space.applied(skill.schema("train")["default"], overrides or {})
        return build.Spec(values, frozenset(overrides or ()))
    return build.build(skill, Request(skill.name, "train", datasets=datasets, overrides=dict(overrides or {})))


def built(
    skill: str | Skill = REASON, overrides: Mapping[str, Any] | None = None, automl: Mapping[str, Any] | None = None
) -> Space:
    """Return the space of a training request."""
    found = catalog.find(skill) if isinstance(skill, str) else skill
    own = recipe(found, overrides)
    return space.build(found, own.values, own.given, option_reader.parse(automl or {}, found.info))


def problems(
    skill: str | Skill = REASON, overrides: Mapping[str, Any] | None = None, automl: Mapping[str, Any] | None = None
) -> list[Problem]:
    """Return what is wrong with a request whose space is refused."""
    try:
        built(skill, overrides, automl)
    except RequestError as error:
        return list(error.problems)
    raise AssertionError("the space was accepted")
