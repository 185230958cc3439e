"""Addresses to pages. Every address names a job, and a clip by its index in the results: none names a path."""

import re
from importlib.resources import files

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from tao_skill_bank.errors import Problem, TaoSkillsError, UnknownNameError
from tao_skill_bank.ui import clips, pages

PAGE_NUMBER = re.compile("[0-9]{1,9}")


def application() -> Starlette:
    """Return the server's application, without its guard."""
    routes = [
        Route("/", jobs),
        Route("/jobs/{job_id}", job),
        Route("/jobs/{job_id}/report", job_report),
        Route("/jobs/{job_id}/clips", job_clips),
        Route("/jobs/{job_id}/clips/{index:int}", clip_file),
        Route("/ui.js", script),
    ]
    return Starlette(routes=routes, exception_handlers={TaoSkillsError: _explained, 404: _no_page})


# Starlette runs functions that are not coroutines in a thread each: reading a run may take a while.


def jobs(request: Request) -> Response:
    return HTMLResponse(pages.of_jobs(request.query_params.get("words", ""), request.query_params.get("state", "")))


def job(request: Request) -> Response:
    return HTMLResponse(pages.of_job(request.path_params["job_id"]))


def job_report(request: Request) -> Response:
    return HTMLResponse(pages.report_of(request.path_params["job_id"]))


def job_clips(request: Request) -> Response:
    number = request.query_params.get("page", "1")
    shown = request.query_params.get("shown", clips.SHOWN[0])
    page = int(number) if PAGE_NUMBER.fullmatch(number) else 1
    return HTMLResponse(pages.clips_of(request.path_params["job_id"], page, shown))


def clip_file(request: Request) -> Response:
    """Answer with a clip, or the range of it that is asked for."""
    job_id, index = request.path_params["job_id"], request.path_params["index"]
    found = next((clip for clip in clips.clips_of(pages.run_of(job_id)) if clip.index == index), None)
    if found is None or found.file is None:
        return _page(404, "No such clip", Problem("no_clip", f"Job {job_id} has no clip {index} on this machine.", ""))
    return FileResponse(found.file)


def script(request: Request) -> Response:  # noqa: ARG001 - the signature of an endpoint
    text = files("tao_skill_bank.ui").joinpath("static", "ui.js").read_text(encoding="utf-8")
    return Response(text, media_type="text/javascript")


def _explained(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the signature of a handler
    assert isinstance(error, TaoSkillsError)
    is_unknown = isinstance(error, UnknownNameError)
    title = "There is no such job" if is_unknown else "This cannot be shown"
    return _page(404 if is_unknown else 409, title, error.problems[0])


def _no_page(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the signature of a handler
    return _page(404, "There is no such page", Problem("no_page", f"Nothing is at {request.url.path}.", ""))


def _page(status: int, title: str, problem: Problem) -> Response:
    return HTMLResponse(pages.of_problem(title, problem), status)
