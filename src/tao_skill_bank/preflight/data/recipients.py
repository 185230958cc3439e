"""Names the servers that the job sends data to, how much that is and what it costs; refuses hosts not allowed."""

from collections.abc import Sequence
from dataclasses import replace

from tao_skill_bank.contracts import Finding, Job, Recipient
from tao_skill_bank.core import hosts, settings
from tao_skill_bank.core.findings import blocking, info, warning
from tao_skill_bank.data.kinds import Seen

SENT, NOT_ALLOWED = "data_is_sent", "host_not_allowed"
MILLION = 1e6


def check(job: Job, inputs: Sequence[Seen]) -> list[Finding]:
    """Return a finding for every server: a blocking one where its host may not get data."""
    return [_finding(job, recipient, inputs) for recipient in job.workload.recipients]


def _finding(job: Job, recipient: Recipient, inputs: Sequence[Seen]) -> Finding:
    host, count, noun = hosts.of_url(recipient.url), *_count(job, recipient, inputs)
    is_here = hosts.is_loopback(host)
    sent = "an unknown number of inputs" if count is None else f"{count} {noun}"
    message = f"{recipient.what.capitalize()} of {sent} are sent to {host}{' (this machine)' if is_here else ''}"
    message += f"{_amount(recipient, count)}."
    evidence = {"host": host, "count": count, **_figures(recipient, count)}
    if not is_here and host not in recipient.allowed:
        message += f" {recipient.allow_path} does not list that host."
        fix = f"Only the owner of the data can decide this. If it may go there: --set '{recipient.allow_path}=[{host}]'"
        allowed = {recipient.allow_path: [*recipient.allowed, host]}
        found = blocking(NOT_ALLOWED, message, fix, recipient.path, **evidence)
        return replace(found, fix_choices=(allowed,))
    key = recipient.key_variable
    if not is_here and key and not settings.has_variable(key):
        message += f" Its key would be read from {key}, which is not set here."
        return warning(SENT, message, f"Where the server needs a key: export {key}=...", recipient.path, **evidence)
    return info(SENT, message, recipient.path, **evidence)


def _count(job: Job, recipient: Recipient, inputs: Sequence[Seen]) -> tuple[int | None, str]:
    """Return how many inputs are sent, None where that is not known, and what they are."""
    sent = [seen for seen in inputs if seen.input.role == recipient.role]
    available = sum(seen.num_usable for seen in sent)
    if not available:
        return None, ""
    limit = job.workload.limit
    is_limited = limit is not None and limit.role == recipient.role
    return (min(limit.count, available) if limit and is_limited else available), sent[0].noun


def _figures(recipient: Recipient, count: int | None) -> dict[str, float | None]:
    if count is None:
        return {}
    tokens = {"input_tokens": count * recipient.input_tokens, "output_tokens": count * recipient.output_tokens}
    cost = None
    if recipient.input_price is not None and recipient.output_price is not None:
        cost = tokens["input_tokens"] * recipient.input_price + tokens["output_tokens"] * recipient.output_price
    return {"requests": count * recipient.requests, **tokens, "cost": None if cost is None else cost / MILLION}


def _amount(recipient: Recipient, count: int | None) -> str:
    figures = _figures(recipient, count)
    if not figures:
        return ""
    parts = [f"{figures[name]:,.0f} {name.replace('_', ' ')}" for name in ("requests", "input_tokens", "output_tokens")]
    cost = figures["cost"]
    priced = "; their price is not set" if cost is None else f", which cost about {cost:,.4g}"
    return f": about {', '.join(parts)}{priced}"
