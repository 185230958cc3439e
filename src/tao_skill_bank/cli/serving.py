"""Prints the address of a local server, and serves until Ctrl-C."""

from typing import TYPE_CHECKING, Annotated

import typer

from tao_skill_bank.cli.output import document, print_json
from tao_skill_bank.core.redact import plain_output
from tao_skill_bank.errors import MissingExtraError

if TYPE_CHECKING:
    from tao_skill_bank.ui.access import Site

PortOption = Annotated[int, typer.Option("--port", help="Port of 127.0.0.1; 0 finds a free one.", min=0, max=65535)]


def require_extra() -> None:
    """Raise MissingExtraError without the libraries of the server."""
    try:
        import starlette
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.for_module(error.name or "starlette", "ui") from None
    assert starlette


def serve(port: int, site: "Site | None" = None, *, as_json: bool) -> None:
    """Serve a site, by default the pages of jobs. Raises BlockedError where the port cannot be used."""
    require_extra()
    from tao_skill_bank.ui import access, server

    listening, token = server.bind(port), access.new_token()
    url = server.address(listening, token)
    if as_json:  # its token, made for this address, is the one credential that is printed
        print_json(document({"url": url, "port": server.port_of(listening)}), is_masked=True)
    else:
        with plain_output():
            typer.echo(f"Open {url}")
        typer.echo("Stop with Ctrl-C. On another machine, forward the port first: ssh -L PORT:127.0.0.1:PORT HOST")
    server.serve(listening, token, site)
