"""images resolve."""

from typing import Annotated

import typer

from tao_skill_bank.cli.output import JsonFlag, document, print_json, print_rows

app = typer.Typer(no_args_is_help=True)


@app.callback()
def images() -> None:
    """Find container images."""


@app.command("resolve")
def resolve(
    name: Annotated[str, typer.Argument(help="Skill, key of references/versions.yaml, image, or KEY=IMAGE.")],
    as_json: JsonFlag = False,
) -> None:
    """Show the image of a skill or key, the command that pulls it, and what it runs."""
    from tao_skill_bank.bank import catalog, images
    from tao_skill_bank.errors import UnknownNameError

    try:
        found = images.of_skill(catalog.find(name)) or images.resolve(images.OUR_OWN)
    except UnknownNameError as error:
        is_plain = not set(name) & set("/:@=.") and name not in images.known()
        if is_plain and "Did you mean" in str(error):  # a misspelled skill
            raise
        found = images.resolve(name)
    runs = {action: " ".join(words) for action, words in found.commands.items()}
    if as_json:
        print_json(document({"image": found.image, "get": found.get, "confirm": found.confirm, "commands": runs}))
        return
    rows = [
        ("image", found.image),
        ("get", found.get),
        ("runs", ", ".join(f"{action}: {words}" for action, words in runs.items()) or "this package's trainers"),
        ("confirm", "a request must name it, or a sealed plan must show it" if found.confirm else "no"),
    ]
    print_rows(("", ""), rows)
