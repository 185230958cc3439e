"""A bank of agent skills that run: request -> plan -> launch -> result.

plan = tao_skill_bank.plan(Request(skill="tao-finetune-cosmos-reason", action="train", datasets={...}))
job = tao_skill_bank.run(plan)
job.wait().state  # with timeout_seconds: StillRunningError when it has not ended by then
"""

from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

from tao_skill_bank.core.version import __version__

__path__ = extend_path(__path__, __name__)  # model packages may come with other distributions

if TYPE_CHECKING:
    from tao_skill_bank.contracts import DatasetPaths, PlatformRequest, Request
    from tao_skill_bank.errors import StillRunningError
    from tao_skill_bank.jobs.service import JobHandle
    from tao_skill_bank.planning.dispatch import plan, run

_HOMES = {
    "plan": ("tao_skill_bank.planning.dispatch", "plan"),
    "run": ("tao_skill_bank.planning.dispatch", "run"),
    "JobHandle": ("tao_skill_bank.jobs.service", "JobHandle"),
    "StillRunningError": ("tao_skill_bank.errors", "StillRunningError"),
    "Request": ("tao_skill_bank.contracts", "Request"),
    "DatasetPaths": ("tao_skill_bank.contracts", "DatasetPaths"),
    "PlatformRequest": ("tao_skill_bank.contracts", "PlatformRequest"),
}
__all__ = ["DatasetPaths", "JobHandle", "PlatformRequest", "Request", "StillRunningError", "__version__", "plan", "run"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import tao_skill_bank` stays cheap in either plane."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tao_skill_bank' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
