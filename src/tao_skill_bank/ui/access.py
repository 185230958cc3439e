"""Who may read the pages: the user of this machine who has the token, in a browser that asked for this address.

A page of another site can send a browser to any loopback port. It neither knows the token nor can read an answer; the
check of the host keeps out a site whose name was made to mean 127.0.0.1 (DNS rebinding).
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PARAMETER = "token"
SAFE_METHODS = ("GET", "HEAD")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; media-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True)
class Site:
    """What is served.

    Attributes:
        command: printed the address.
        writes: it takes decisions by POST, from its own pages alone.

    """

    app: ASGIApp
    command: str = "tao-skills ui"
    writes: bool = False


def new_token() -> str:
    """Return a token of 192 random bits, as it may stand in an address."""
    return secrets.token_urlsafe(24)


class Guard:
    """Answers what is not allowed, and adds the headers by which a browser keeps a page to itself."""

    def __init__(self, site: Site, token: str, hosts: Iterable[str]) -> None:
        self._site, self._app, self._token, self._hosts = site, site.app, token, frozenset(hosts)
        # Browsers send a cookie to every port of a host: each server has a name of its own.
        self._cookie = f"tao_ui_{secrets.token_hex(4)}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        refusal = self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("host", "") not in self._hosts:
            return PlainTextResponse("This server answers to its loopback address only.", 421)
        if request.method not in SAFE_METHODS and not (self._site.writes and request.method == "POST"):
            return PlainTextResponse("These pages only read.", 405, {"allow": ", ".join(SAFE_METHODS)})
        if request.method == "POST" and request.headers.get("origin") != f"http://{request.headers['host']}":
            return PlainTextResponse("Only the pages of this server may decide anything.", 403)
        given = request.query_params.get(PARAMETER)
        if given is not None and self._is_token(given):
            return self._admitted(request.url)
        if self._is_token(request.cookies.get(self._cookie, "")):
            return None
        return PlainTextResponse(f"Open the address that `{self._site.command}` printed: it holds the token.", 401)

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    def _admitted(self, url: URL) -> Response:
        """Return a redirect to the same page, with the token in a cookie instead of the address."""
        target = url.remove_query_params(PARAMETER)
        answer = RedirectResponse(f"{target.path}?{target.query}".rstrip("?"), 303)
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
        return answer
