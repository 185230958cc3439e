"""What every platform can do. One package per platform, found by its name, imported on use."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from tao_skill_bank.contracts import Finding, Job, JobRecord, JobStatus, Launch, Plan
from tao_skill_bank.errors import UnknownNameError


class Platform(Protocol):
    """Drives an existing engine: renders what it will send, sends exactly that, and reports the state of the job."""

    name: str
    one_machine: bool  # the nodes that a spec names become processes on it
    number_options: tuple[str, ...]  # names in platform.options, besides those that every platform has
    text_options: tuple[str, ...]
    host_key: str | None  # in the backend reference: the machine that alone can query the job; None where any can

    def runs_here(self, options: Mapping[str, Any]) -> bool:
        """Return whether jobs with these platform options run on the machine that submits."""
        ...

    def uses_image(self, options: Mapping[str, Any]) -> bool:
        """Return whether jobs with these platform options run in a container image."""
        ...

    def shares(self, path: str, options: Mapping[str, Any]) -> bool | None:
        """Return whether the machines of a job have the same file at `path` as this one.

        None where only they know: what is not here may be there, and what is here may be missing there.
        """
        ...

    def interpreter(self, options: Mapping[str, Any]) -> str | None:
        """Return the Python by whose path the job starts on its machines; None for one of an image."""
        ...

    def probe(self, job: Job) -> list[Finding]:
        """Look at the engine without changing it and report what prevents `job` from running."""
        ...

    def render(self, plan: Plan) -> Launch:
        """Return the files and the command of the launch. Pure: the same plan renders the same launch."""
        ...

    def submit(self, plan: Plan) -> dict[str, str | int | float]:
        """Start the plan's rendered launch and return the backend reference that finds it again."""
        ...

    def status(self, record: JobRecord) -> JobStatus:
        """Ask the engine for the state of a job."""
        ...

    def logs(self, record: JobRecord, *, follow: bool) -> Iterator[str]:
        """Yield the log in pieces of any length, line ends included; with `follow`, until the job ends."""
        ...

    def cancel(self, record: JobRecord) -> None:
        """Stop the job and everything it started. Cancelling a stopped job changes nothing."""
        ...

    def avoiding(self, record: JobRecord, job: Job) -> dict[str, str]:
        """Return the options that keep a retry of `job` off machines that failed under it; empty where none did."""
        ...


def names() -> list[str]:
    """Return the platforms of this release, by the name of their package."""
    package = importlib.import_module("tao_skill_bank.platforms")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg)


def load(name: str) -> Platform:
    """Return the platform called `name`.

    Raises:
        UnknownNameError: no such platform.

    """
    if name not in names():
        message = f"There is no platform '{name}'."
        raise UnknownNameError.of(
            "unknown_platform", message, f"Use one of: {', '.join(names())}.", path="platform.name"
        )
    platform: Platform = importlib.import_module(f"tao_skill_bank.platforms.{name}.platform").PLATFORM
    return platform
