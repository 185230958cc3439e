"""models create, models resolve."""

from typing import Annotated

import typer

from tao_skill_bank.cli.output import JsonFlag, document, print_json

app = typer.Typer(no_args_is_help=True)


@app.command("create")
def create(
    uri: Annotated[str, typer.Argument(help="builtin://NAME, or hf_model://ORG/NAME to download ahead of a launch.")],
    as_json: JsonFlag = False,
) -> None:
    """Create or download a model into the cache that launches use, and print the folder."""
    from tao_skill_bank.bank import model_store

    folder = model_store.materialise(uri)
    if as_json:
        print_json(document({"uri": uri, "folder": str(folder)}))
    else:
        typer.echo(folder)


@app.command("resolve")
def resolve(
    name: Annotated[str, typer.Argument(help="Model name, hub id or URI.")],
    as_json: JsonFlag = False,
) -> None:
    """Say which skill owns a model."""
    from tao_skill_bank.bank import model_store

    owner = model_store.owner(name)
    if as_json:
        print_json(document({"model": name, "skill": owner.name, "uri": owner.uri, "folder": str(owner.folder)}))
    else:
        typer.echo(f"{owner.name}\t{owner.uri}")
