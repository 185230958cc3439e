"""How `data check` reads annotations, which belong to no request: as the bank's own skill for them would."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from tao_skill_bank.bank import catalog, model_hooks
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Workload
from tao_skill_bank.core import nested, packaged_yaml
from tao_skill_bank.data.check.detect import Options
from tao_skill_bank.data.check.survey import Reading
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.errors import TaoSkillsError

ACTION, PLACE, KIND = "train", "any", "annotations"
TOKENS = "record_tokens"


def of_bank(options: Options) -> Reading:
    """Return how annotations are read by the first skill that predicts the tokens of records, with its defaults."""
    skill = next((skill for skill in catalog.skills() if _predicts_tokens(skill)), None)
    if skill is None:
        return Reading(options)
    try:
        spec = _default_spec(skill)
        describe: Any = model_hooks.attribute(model_hooks.load(skill.info.package, "workload"), "describe")
        workload: Workload = model_hooks.call(f"describe of {skill.name} fails", lambda: describe(ACTION, spec))
        predict = model_hooks.attribute(model_hooks.load(skill.info.package, TOKENS), TOKENS)
    except TaoSkillsError as error:
        return Reading(options, no_tokens=str(error))
    given = next((given for given in workload.inputs if given.kind == KIND), None)
    by_kind = {KIND: dict(given.options)} if given else {}
    fields = skill.info.dataset_contract.required_fields
    return Reading(
        Options(by_kind, options.media), fields, partial(_predicted, predict, spec), f"by defaults of {skill.name}"
    )


def trained_on(skill: Skill) -> str | None:
    """Return the kind of input that a skill trains on; None where it does not train here."""
    if not skill.runs_actions or ACTION not in skill.info.actions:
        return None
    try:
        describe: Any = model_hooks.attribute(model_hooks.load(skill.info.package, "workload"), "describe")
        spec = _default_spec(skill)
        workload: Workload = model_hooks.call(f"describe of {skill.name} fails", lambda: describe(ACTION, spec))
    except TaoSkillsError:
        return None  # `tao-skills list` says why
    return next((given.kind for given in workload.inputs if given.role == "train"), None)


def _predicted(predict: Any, spec: Mapping[str, Any], record: Mapping[str, Any], probes: Sequence[MediaProbe]) -> int:
    return int(predict(spec, record, probes))


def _predicts_tokens(skill: Skill) -> bool:
    if not skill.runs_actions or ACTION not in skill.info.actions:
        return False
    return find_spec(f"{model_hooks.MODELS}.{skill.info.package}.{TOKENS}") is not None


def _default_spec(skill: Skill) -> dict[str, Any]:
    """Return the template of the skill's training, with any paths of data."""
    spec: dict[str, Any] = packaged_yaml.parse(skill.template_path(ACTION).read_text(encoding="utf-8"))
    for source in skill.info.data_sources.get(ACTION, {}).values():
        for key in source.keys:
            spec = nested.with_value(spec, key, PLACE)
    return spec
