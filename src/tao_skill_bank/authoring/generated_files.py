"""Writes everything that is generated from dataclasses: schemas, manifests, templates and parameter tables."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.automl.plan import reference
from tao_skill_bank.automl.plan.options import AutomlOptions
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.catalog import Skill, bank_root, skills
from tao_skill_bank.bank.skill_info import SkillInfo
from tao_skill_bank.contracts import Finding, JobRecord, Plan, Request
from tao_skill_bank.core import yaml12
from tao_skill_bank.runs.result_documents import MetricsSummary, Results
from tao_skill_bank.workflows.declaration import Workflow

CONTRACTS: Mapping[str, type] = {
    "request": Request,
    "plan": Plan,
    "finding": Finding,
    "skill_info": SkillInfo,
    "job_record": JobRecord,
    "automl_options": AutomlOptions,
    "metrics_summary": MetricsSummary,
    "results": Results,
    "workflow": Workflow,
}
TABLE = re.compile(r"(<!-- parameters (\w+): ([^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)
BANK_TABLE = re.compile(r"(<!-- (automl_\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def outputs() -> dict[Path, str]:
    """Return the content of every generated file of the bank."""
    root = bank_root()
    files = {
        root / "schemas" / f"{name}.schema.json": to_text(schemas.contract_schema(kind, name))
        for name, kind in CONTRACTS.items()
    }
    files[root / "schemas" / "action.schema.json"] = to_text(schemas.ACTION_META_SCHEMA)
    for skill in skills():
        files |= outputs_of(skill)
    return files


def outputs_of(skill: Skill) -> dict[Path, str]:
    """Return the content of every generated file of one skill."""
    return _skill_outputs(skill) if skill.runs_actions else _runbook_outputs(skill)


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Return the generated files whose content on disk differs."""
    return [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


def write(files: Mapping[Path, str]) -> list[Path]:
    """Write the generated files that differ and return their paths."""
    changed = stale(files)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
    return changed


def to_text(document: Any) -> str:
    """Return strict JSON, indented, with a final newline."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def template_text(schema: Mapping[str, Any]) -> str:
    """Return the commented YAML template of an action schema."""
    lines = [f"# {schema['$comment']}", f"# {schema['title']}: {schema['description']}"]
    lines += [f"# required: {path}" for path in _required_leaves(schema)]
    return "\n".join([*lines, *_template_lines(schema, schema["default"], 0)]) + "\n"


def parameter_table(schema: Mapping[str, Any], prefixes: list[str]) -> str:
    """Return a Markdown table of the leaves at or below the given dotted paths."""
    rows = ["| parameter | type | default | valid | AutoML | meaning |", "|---|---|---|---|---|---|"]
    chosen = [
        (path, leaf)
        for prefix in prefixes
        for path, leaf in schemas.leaves(schema)
        if path == prefix or path.startswith(f"{prefix}.")
    ]
    for path, leaf in chosen:
        star = " ★" if leaf.get("popular") else ""
        default = f"`{json.dumps(leaf['default'])}`" if "default" in leaf else "-"
        cells = [f"`{path}`{star}", _type(leaf), default, _bounds(leaf), search_words(leaf), leaf["description"]]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _skill_outputs(skill: Skill) -> dict[Path, str]:
    files: dict[Path, str] = {}
    actions: dict[str, Any] = {}
    built = {
        action: schemas.action_schema(skill.spec_class(action), skill.name, action) for action in skill.info.actions
    }
    for action, schema in built.items():
        text = to_text(schema)
        files[skill.schema_path(action)] = text
        files[skill.template_path(action)] = template_text(schema)
        actions[action] = {
            "schema": f"schemas/{action}.schema.json",
            "template": f"references/spec_template_{action}.yaml",
            "dataclass": f"tao_skill_bank.models.{skill.info.package}.config.{action.capitalize()}Config",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "automl": bool(skill.info.automl_enabled and schema["automl_default_parameters"]),
        }
    manifest = {"$comment": schemas.GENERATED, "skill": skill.name, "actions": actions}
    files[skill.folder / "schemas" / "manifest.json"] = to_text(manifest)
    for page in (skill.folder / "references").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        if TABLE.search(text):
            files[page] = TABLE.sub(lambda match: _filled(match, built), text)
    return files


def _runbook_outputs(skill: Skill) -> dict[Path, str]:
    pages = {page: page.read_text(encoding="utf-8") for page in (skill.folder / "references").glob("*.md")}
    return {
        page: BANK_TABLE.sub(lambda match: f"{match[1]}{reference.TABLES[match[2]]()}{match[3]}", text)
        for page, text in pages.items()
        if BANK_TABLE.search(text)
    }


def _filled(match: re.Match[str], built: Mapping[str, Any]) -> str:
    opening, action, prefixes, closing = match.groups()
    return f"{opening}{parameter_table(built[action], prefixes.split())}{closing}"


def _template_lines(schema: Mapping[str, Any], values: Mapping[str, Any], depth: int) -> list[str]:
    indent = "  " * depth
    lines = []
    for name, value in values.items():
        child = schema["properties"][name]
        if "properties" in child:
            lines += [f"{indent}{name}:  # {child['description']}", *_template_lines(child, value, depth + 1)]
        else:
            lines.append(f"{indent}{name}: {_scalar(value)}  # {child['description']}")
    return lines


def _scalar(value: Any) -> str:
    """Return one YAML value on one line; JSON's lists and objects are YAML's flow style."""
    return json.dumps(value) if isinstance(value, (list, dict)) else yaml12.render({"v": value})[3:].strip()


def _required_leaves(schema: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name in schema.get("required", ()):
        child = schema["properties"][name]
        path = f"{prefix}{name}"
        found += _required_leaves(child, f"{path}.") if "properties" in child else [path]
    return found


def _type(leaf: Mapping[str, Any]) -> str:
    if "anyOf" in leaf:
        return " or ".join(dict.fromkeys(_type(branch) for branch in leaf["anyOf"]))
    if "enum" in leaf or "const" in leaf:
        return "enum"
    if leaf.get("type") == "array":
        return f"list of {_type(leaf['items'])}"
    return str(leaf.get("type", "any"))


def _bounds(leaf: Mapping[str, Any]) -> str:
    if "const" in leaf:
        return f"`{leaf['const']}`"
    values = leaf.get("enum") or leaf.get("items", {}).get("enum")
    if values:
        return ", ".join(f"`{value}`" for value in values)
    return schemas.bounds(leaf) or "-"


def search_words(leaf: Mapping[str, Any]) -> str:
    """Return whether AutoML searches a leaf and in which domain; "-" where it never does."""
    if leaf.get("automl_enabled") is False or "search" not in leaf:
        return "-"
    search = leaf["search"]
    words = ["default" if leaf.get("automl_enabled") else "on request"]
    if "minimum" in search:
        words.append(f"{search['minimum']:g}..{search['maximum']:g}")
    if "math_cond" in search:
        words.append(f"({search['math_cond']})")
    if "around" in search:
        whose = f"ratio to `{search['ratio_to']}`" if "ratio_to" in search else "value"
        words.append(f"within {search['around']:g}x of the request's {whose}")
    return " ".join(words)
