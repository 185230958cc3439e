"""The page of a review: one record at a time, decided by keyboard. Addresses name records by their index alone."""

import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from tao_skill_bank import report
from tao_skill_bank.core import json_reader
from tao_skill_bank.data import media_suffixes
from tao_skill_bank.errors import RequestError
from tao_skill_bank.labelling import records_file
from tao_skill_bank.labelling.review_file import Review

MAX_BODY_BYTES = 1 << 20


class ReviewPages:
    """The pages of one review."""

    def __init__(self, review: Review, media: Path) -> None:
        self._review, self._media = review, media
        self._keys = list(review.items)
        self._lock = threading.Lock()  # one decision at a time reaches the file

    def application(self) -> Starlette:
        """Return the application, without its guard."""
        return Starlette(
            routes=[
                Route("/", self._start),
                Route("/records/{index:int}", self._record),
                Route("/records/{index:int}/media", self._medium),
                Route("/records/{index:int}/decision", self._decide, methods=["POST"]),
                Route("/review.js", self._script),
            ]
        )

    def _start(self, request: Request) -> Response:  # noqa: ARG002 - the signature of an endpoint
        """Lead to the first record without a decision."""
        return RedirectResponse(f"/records/{self._next(-1)}", 303)

    def _record(self, request: Request) -> Response:
        index = request.path_params["index"]
        if not 0 <= index < len(self._keys):
            return PlainTextResponse("There is no such record.", 404)
        key = self._keys[index]
        item, decision = self._review.items[key], self._review.decisions.get(key)
        shown = {
            "item": item,
            "decision": decision,
            "answer": decision.correction if decision and decision.correction else item.answer,
            "index": index,
            "num_items": len(self._keys),
            "next_undecided": self._next(index),
            "counts": self._review.counts,
            "medium": self._kind_of(index),
            "file": self._review.path,
        }
        return HTMLResponse(report.render("review.html.jinja", templates="tao_skill_bank.labelling", **shown))

    def _medium(self, request: Request) -> Response:
        """Answer with the record's video or picture, or the range of it that is asked for."""
        file = self._file_of(request.path_params["index"])
        return FileResponse(file) if file is not None else PlainTextResponse("It is not on this machine.", 404)

    async def _decide(self, request: Request) -> Response:
        try:
            body = await _body(request)
            index = request.path_params["index"]
            if not 0 <= index < len(self._keys):
                raise RequestError.of("review_invalid", "There is no such record.", "Reload the page.")
            await run_in_threadpool(self._append, self._keys[index], body)
        except RequestError as error:
            return JSONResponse({"error": f"{error} {error.problems[0].fix}"}, 400)
        except OSError as error:
            return JSONResponse({"error": f"The decision is not saved: {error.strerror or error}"}, 507)
        return JSONResponse({"next": f"/records/{self._next(index)}"})

    def _append(self, key: str, body: dict[str, Any]) -> None:
        with self._lock:
            self._review.decide(key, str(body.get("decision") or ""), str(body.get("correction") or ""))

    def _script(self, request: Request) -> Response:  # noqa: ARG002 - the signature of an endpoint
        text = files("tao_skill_bank.labelling").joinpath("static", "review.js").read_text(encoding="utf-8")
        return Response(text, media_type="text/javascript")

    def _next(self, index: int) -> int:
        """Return the next record without a decision, from the start again at the end; else the next one."""
        order = [*range(index + 1, len(self._keys)), *range(max(0, index))]
        undecided = (position for position in order if self._keys[position] not in self._review.decisions)
        return next(undecided, min(index + 1, len(self._keys) - 1))

    def _kind_of(self, index: int) -> str:
        file = self._file_of(index)
        return "" if file is None else "picture" if media_suffixes.is_picture(file) else "video"

    def _file_of(self, index: int) -> Path | None:
        if not 0 <= index < len(self._keys):
            return None
        file = records_file.media_file(self._media, self._review.items[self._keys[index]])
        is_medium = file is not None and (media_suffixes.is_clip(file) or media_suffixes.is_picture(file))
        return file if is_medium else None


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY_BYTES:
            raise RequestError.of("review_invalid", "The correction is too long.", "Shorten it.")
    try:
        document = json_reader.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RequestError.of("review_invalid", "This is not a decision.", "Use the page.")
    return document
