"""Serves the pages on this machine's loopback address until it is stopped."""

import socket
from contextlib import closing

import uvicorn

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.ui import access
from tao_skill_bank.ui.access import Site
from tao_skill_bank.ui.application import application

LOOPBACK = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """Return a socket that listens on a port of the loopback address, or on a free one for 0.

    Raises:
        BlockedError: the port is taken or may not be used.

    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
        listening.listen()
    except OSError as error:
        listening.close()
        message = f"Port {port} of {LOOPBACK} cannot be used: {error.strerror or error}."
        fix = "Take another one: --port 0 finds a free one."
        raise BlockedError.of("port_not_usable", message, fix, path="port", got=str(port)) from None
    return listening


def port_of(listening: socket.socket) -> int:
    """Return the port that a socket listens on."""
    port: int = listening.getsockname()[1]
    return port


def address(listening: socket.socket, token: str) -> str:
    """Return the address to open, with the token."""
    return f"http://{LOOPBACK}:{port_of(listening)}/?{access.PARAMETER}={token}"


def server(listening: socket.socket, token: str, site: Site | None = None) -> uvicorn.Server:
    """Return the server of a site, by default of the jobs; `run(sockets=[...])` serves until a signal.

    It ends as well once `should_exit` is set.
    """
    hosts = [f"{name}:{port_of(listening)}" for name in (LOOPBACK, "localhost")]
    guarded = access.Guard(site or Site(application()), token, hosts)
    # No log of requests: the first one's address holds the token.
    return uvicorn.Server(uvicorn.Config(guarded, access_log=False, log_level="warning", server_header=False))


def serve(listening: socket.socket, token: str, site: Site | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with closing(listening):
        server(listening, token, site).run(sockets=[listening])
