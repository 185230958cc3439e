"""What checks may ask for: one object, whose values are computed once, when the first check needs them.

A check names what it needs by its parameters. Every name that `Facts` has is one that a check may use.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Generic, TypeVar

from tao_skill_bank.bank import model_hooks
from tao_skill_bank.contracts import Input, Job
from tao_skill_bank.data import header_findings, headers, kinds
from tao_skill_bank.data.kinds import Context, Seen
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.platforms.base import Platform
from tao_skill_bank.preflight.data import token_budget, visibility
from tao_skill_bank.preflight.model import feature_cache, inspection
from tao_skill_bank.preflight.model.feature_cache import FeatureCache
from tao_skill_bank.preflight.model.inspection import Inspection
from tao_skill_bank.preflight.storage import stores
from tao_skill_bank.preflight.storage.stores import RemoteData
from tao_skill_bank.staging import places

DEFAULT_SAMPLES = 8
DEFAULT_DECODE_SECONDS = 20.0

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - used as a decorator
    """A property that is computed by the first thread that reads it, while others wait for it."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, owner: Any, _: type | None = None) -> T:
        with owner.locks[self.name]:
            if self.name not in owner.known:
                owner.known[self.name] = self.compute(owner)
            value: T = owner.known[self.name]
            return value


class Facts:
    """The facts of one preflight."""

    def __init__(self, job: Job, platform: Platform, *, compares_resumed: bool, pool: Executor, scratch: Path) -> None:
        self.job = job
        self.platform = platform
        self.compares_resumed = compares_resumed  # False where the request itself made the checkpoint to resume from
        self._pool = pool
        self._scratch = scratch
        self.known: dict[str, Any] = {}
        self.locks = {name: threading.Lock() for name, value in vars(Facts).items() if isinstance(value, once)}

    @once
    def runs_here(self) -> bool:
        """Whether this machine is the one that runs the job."""
        return self.platform.runs_here(self.job.platform.options)

    @once
    def hidden(self) -> frozenset[str]:
        """The paths that the job reads and that are not here, where its own machines may have them."""
        return visibility.hidden(self.job, self.platform)

    @once
    def remote(self) -> RemoteData:
        """What was found in object stores for the job."""
        return stores.look(self.job, self._scratch, runs_here=self.runs_here)

    @once
    def kind_context(self) -> Context:
        """What the kinds of input need to look at one."""
        options, remote = self.job.platform.options, self.remote
        return Context(
            pool=self._pool,
            scratch=self._scratch,
            workload=self.job.workload,
            required_fields=self.job.dataset_required_fields,
            num_samples=int(_positive(options, "preflight_samples", DEFAULT_SAMPLES)),
            decode_seconds=_positive(options, "preflight_decode_seconds", DEFAULT_DECODE_SECONDS),
            header_budget=headers.Budget(_positive(options, header_findings.OPTION, headers.DEFAULT_SECONDS)),
            local_copies={uri: path for path, uri in remote.uris.items()},
            unread=remote.failed,
            is_stored=places.is_remote,
            stored_names=stores.existing,
        )

    @once
    def inputs(self) -> list[Seen]:
        """What every input of the job is, as its kind sees it."""
        package = self.job.module.rpartition(".")[0]
        return [self._look(given, package) for given in self.job.workload.inputs]

    def _look(self, given: Input, package: str) -> Seen:
        kind = kinds.of(given, package)
        if unseen := visibility.unseen(given, kind, self.hidden, self.job):
            return unseen
        look, context = kind.look, self.kind_context
        return model_hooks.call(f"The kind of input '{given.kind}' cannot be looked at", lambda: look(given, context))

    @once
    def records(self) -> list[Probed]:
        """The sampled records of all inputs."""
        return [record for seen in self.inputs for record in seen.records]

    @once
    def inspection(self) -> Inspection:
        """What the training plane reports about the model."""
        if self.hidden.intersection((self.job.workload.model, self.job.workload.base_model)):
            return inspection.elsewhere(self.job)
        return inspection.inspect(self.job, token_budget.longest(self.job, self.records))

    @once
    def feature_cache(self) -> FeatureCache | None:
        """The cache of features of a frozen model part that the run writes to disk."""
        return feature_cache.estimate(self.job, self.inspection, self.inputs, self.records, runs_here=self.runs_here)


def names() -> frozenset[str]:
    """Return the parameters that a check may have."""
    given = {"job", "platform", "compares_resumed"}
    return frozenset(given | {name for name, value in vars(Facts).items() if isinstance(value, once)})


def _positive(options: Mapping[str, Any], name: str, default: float) -> float:
    value = options.get(name, default)
    return value if isinstance(value, (int, float)) and value > 0 else default
