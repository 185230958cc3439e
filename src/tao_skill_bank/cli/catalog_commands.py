"""list, show, schema, template."""

from typing import Annotated, Any

import typer

from tao_skill_bank.cli.output import JsonFlag, command, document, print_json, print_problems, print_rows

Name = Annotated[str, typer.Argument(help="Skill name or alias.")]


def list_skills(as_json: JsonFlag = False) -> None:
    """List the skills with their actions and AutoML support; one that its files do not describe well is reported."""
    from tao_skill_bank.bank import catalog, consistency
    from tao_skill_bank.errors import RequestError

    found = {skill: consistency.problems(skill) for skill in catalog.skills()}
    problems = [*(problem for own in found.values() for problem in own), *consistency.strays()]
    code = RequestError.exit_code if problems else 0
    entries: list[dict[str, Any]] = [
        {
            "skill": skill.name,
            "actions": list(skill.info.actions) if skill.runs_actions else [],
            "automl": skill.runs_actions and skill.info.automl_enabled and skill.is_automl_runnable("train"),
            "models": list(skill.info.huggingface_model_ids) if skill.runs_actions else [],
            "description": skill.description,
        }
        for skill, own in found.items()
        if not own
    ]
    if as_json:
        print_json(document({"skills": entries}, code=code, problems=problems))
        raise typer.Exit(code)
    rows = [
        (entry["skill"], ", ".join(entry["actions"]) or "runbook", "yes" if entry["automl"] else "-")
        for entry in entries
    ]
    print_rows(("skill", "actions", "AutoML"), rows)
    print_problems(problems)
    raise typer.Exit(code)


def show(skill: Name, as_json: JsonFlag = False) -> None:
    """Print a skill's SKILL.md and the paths of its references."""
    from tao_skill_bank.bank import catalog
    from tao_skill_bank.contracts import to_json

    found = catalog.find(skill)
    text = (found.folder / "SKILL.md").read_text(encoding="utf-8")
    references = sorted(str(path.relative_to(found.folder)) for path in (found.folder / "references").glob("*.md"))
    if as_json:
        info = to_json(found.info) if found.runs_actions else None
        payload = {
            "skill": found.name,
            "folder": str(found.folder),
            "text": text,
            "references": references,
            "info": info,
        }
        following = [command("schema", found.name, action) for action in (info or {}).get("actions", {})]
        print_json(document(payload, following=following))
        return
    typer.echo(text)
    typer.echo(f"folder: {found.folder}", err=True)


def schema(
    skill: Annotated[
        str, typer.Argument(help="Skill name or alias, or the name of a bank-wide schema such as request.")
    ],
    action: Annotated[str | None, typer.Argument(help="Action of the skill.", show_default=False)] = None,
    key: Annotated[
        str | None, typer.Argument(help="Dotted key of the spec: only what is known of it.", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the JSON Schema of an action or of one key of it, or of a bank-wide contract (request, plan, ...)."""
    from tao_skill_bank.authoring import generated_files
    from tao_skill_bank.bank import catalog
    from tao_skill_bank.errors import UnknownNameError

    if action and key:
        _one_key(skill, action, key, as_json=as_json)
        return
    if action:
        found = catalog.find(skill).schema(action)
    elif skill in generated_files.CONTRACTS:
        from tao_skill_bank.bank.schema import contract_schema

        found = contract_schema(generated_files.CONTRACTS[skill], skill)
    else:
        names = ", ".join(generated_files.CONTRACTS)
        message = f"Give an action of skill '{skill}', or one of the bank-wide schemas."
        raise UnknownNameError.of("unknown_schema", message, f"Bank-wide: {names}.", path="schema", got=skill)
    if as_json:
        print_json(document({"schema": found}))
    else:
        typer.echo(generated_files.to_text(found), nl=False)


def _one_key(skill: str, action: str, key: str, *, as_json: bool) -> None:
    from tao_skill_bank.bank import catalog
    from tao_skill_bank.cli import parameters

    described = parameters.describe(catalog.find(skill), action, key)
    if as_json:
        print_json(document(described))
    else:
        print_rows(("", ""), list(parameters.rows(described)))


def template(
    skill: Name,
    action: Annotated[str, typer.Argument(help="Action of the skill.")],
    grep: Annotated[
        str | None, typer.Option("--grep", metavar="WORD", help="Only keys with this word in their name or meaning.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the spec template of an action: every default, with its meaning."""
    from tao_skill_bank.authoring import generated_files
    from tao_skill_bank.bank import catalog

    if grep is not None:
        _matching_keys(skill, action, grep, as_json=as_json)
        return
    found = catalog.find(skill).schema(action)
    if as_json:
        print_json(document({"template": found["default"]}))
    else:
        typer.echo(generated_files.template_text(found), nl=False)


def _matching_keys(skill: str, action: str, word: str, *, as_json: bool) -> None:
    from tao_skill_bank.bank import catalog
    from tao_skill_bank.cli import parameters

    found = parameters.matching(catalog.find(skill), action, word)
    if as_json:
        print_json(document({"keys": found}))
        return
    rows = [
        (each["key"], parameters.shown(each["default"]) if "default" in each else "-", each["description"])
        for each in found
    ]
    print_rows(("key", "default", "meaning"), rows)
