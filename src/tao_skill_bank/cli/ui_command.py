"""ui: jobs in a browser."""

from typing import Annotated

import typer

from tao_skill_bank.cli.output import JsonFlag, document, print_json
from tao_skill_bank.core.redact import plain_output
from tao_skill_bank.errors import MissingExtraError


def ui(
    port: Annotated[int, typer.Option("--port", help="Port of 127.0.0.1; 0 finds a free one.", min=0, max=65535)] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Show jobs, live curves, clips and reports in a browser: read-only, on this machine alone, until Ctrl-C."""
    try:
        from tao_skill_bank.ui import access, server
    except ImportError as error:
        raise MissingExtraError.for_module(error.name or "starlette", "ui") from None
    listening, token = server.bind(port), access.new_token()
    url = server.address(listening, token)
    if as_json:  # its token, made for this address, is the one credential that is printed
        print_json(document({"url": url, "port": server.port_of(listening)}), is_masked=True)
    else:
        with plain_output():
            typer.echo(f"Open {url}")
        typer.echo("Stop with Ctrl-C. On another machine, forward the port first: ssh -L PORT:127.0.0.1:PORT HOST")
    server.serve(listening, token)
