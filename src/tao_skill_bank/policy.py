"""automl_policy from the explicit value or the user's words, and the route that follows from it. Pure."""

import re
from dataclasses import dataclass
from typing import Literal

from tao_skill_bank.catalog import QUALIFIER, Skill
from tao_skill_bank.contracts import Finding, Request, Route

Policy = Literal["auto", "off"]
AUTOML_SKILL = f"{QUALIFIER}tao-run-automl"
NOT_RUNNABLE = "AutoML is enabled but not runnable for this model until schemas are generated"

# What people call the search.
SEARCH = (
    r"(?:auto[\s-]?ml(?:[_\s-]?policy|[_\s-]?enabled)?|hpo"
    r"|hyper[\s-]?param(?:eter)?s?(?:[\s-](?:search|tuning|optimi[sz]ation|sweeps?))?"
    r"|hp[\s-](?:search|tuning)|(?:parameter|grid|random|bayesian)[\s-](?:search|sweep)|sweeps?|auto[\s-]?tun(?:e|ing)"
    r"|tune\s+it\b|tun(?:e|ing)\s+(?:the\s+)?hyper[\s-]?param(?:eter)?s)"
)
FILLER = (
    r"(?:\s+(?:the|any|an|a|all|of|that|this|your|my|our|more|some|use|using|do|doing|run|running|on|with|for|kind"
    r"|automatic|it)\b)*"
)
STOP_VERB = (
    r"(?:turn(?:ing|ed)?\s+off|switch(?:ing|ed)?\s+off|shut(?:ting)?\s+off|disabl(?:e|es|ed|ing)|deactivat(?:e|ed|ing)"
    r"|skip(?:ping|ped)?|avoid(?:ing)?|omit(?:ting)?|bypass(?:ing)?|stop|opt(?:ing)?\s+out\s+of|drop(?:ping)?"
    r"|leav(?:e|ing)\s+out|forget(?:\s+about)?|exclud(?:e|ing)|hold(?:ing)?\s+off\s+on|refrain(?:ing)?\s+from|forgo)"
)
PLAIN = (
    r"(?:(?:plain|vanilla|simple|direct|regular|normal|ordinary|basic|single|straight|standard)\s+(?:\w+\s+)?"
    r"(?:training|train|run|fine[\s-]?tun\w*|sft)\b"
    r"|just\s+(?:train|fine[\s-]?tune)|train(?:ing)?\s+directly|(?:only\s+train|train\s+(?:it\s+)?only)\s+once"
    r"|one\s+(?:plain\s+)?(?:training\s+)?run\s+only)"
    r"(?!\s+(?:data\w*|sets?|splits?|images?|videos?|clips?|samples?|records?|annotations?|folder)\b)"
)
SET_VERB = rf"(?:turn|switch|keep|leave|have|set){FILLER}\s+{SEARCH}\s+(?:turned\s+|switched\s+|to\s+)?"
IS = r"\s*(?:[:=]|\bis\b|\bshould\s+be\b|\bmust\s+be\b|\bto\b)\s*(?:turned\s+|switched\s+|set\s+to\s+)?"
OFF_WORD = r"(?:off|disabled|false|none|no)\b"
ON_WORD = r"(?:on|enabled|true|auto|yes)\b"
UNWANTED = (
    r"\s+(?:(?:is|are)\s+not|isn'?t|aren'?t|not)\s+(?:be\s+)?(?:needed|wanted|required|necessary|desired|wished|used)\b"
)

# A negation at the end of the words before a phrase reverses it; the words in between carry no meaning of their own.
NEGATION = (
    r"(?:do\s*n[o']?t|don't|dont|does\s*n[o']?t|never|(?<!why\s)not|no\s+need\s+(?:to|for)|please\s+no|no|without|w/o"
    r"|instead\s+of|rather\s+than|won't|cannot|can't|shouldn't|must\s*n[o']t|no\s+longer)"
)
BETWEEN = (
    r"(?:\s+(?:want|need|have|like|wish|to|you|me|us|ever|even|please|just|think|we|i|should|be|the|any|a|an|use|using"
    r"|do|doing|run|running|perform|performing|launch|start|let|it|with|by|actually|really|more|of|for|further))*\s*$"
)
NEGATED = re.compile(rf"\b{NEGATION}\b{BETWEEN}")

# The first pattern that matches at the leftmost place gives the meaning.
MEANINGS: tuple[tuple[str, Policy], ...] = (
    (rf"{STOP_VERB}{FILLER}\s+{SEARCH}", "off"),
    (rf"{SET_VERB}{OFF_WORD}", "off"),
    (rf"{SEARCH}{IS}{OFF_WORD}", "off"),
    (rf"{SEARCH}\s+(?:turned\s+|switched\s+)?(?:off|disabled)\b", "off"),
    (rf"{SEARCH}{UNWANTED}", "off"),
    (r"no\s+tuning\b(?!\s+of\b)", "off"),
    (PLAIN, "off"),
    (rf"{SET_VERB}{ON_WORD}", "auto"),
    (rf"{SEARCH}{IS}{ON_WORD}", "auto"),
    (SEARCH, "auto"),
)
PHRASE = re.compile("|".join(rf"(?P<m{index}>\b{pattern})" for index, (pattern, _) in enumerate(MEANINGS)))
OPPOSITE: dict[Policy, Policy] = {"off": "auto", "auto": "off"}


@dataclass(frozen=True)
class Resolution:
    """The policy of one run and where it came from."""

    policy: Policy
    reason: str


def resolve(explicit: Policy | None, prompt: str) -> Resolution:
    """Return the policy: the explicit value, else the last thing the prompt says about it, else auto."""
    if explicit:
        return Resolution(explicit, f"automl_policy is '{explicit}' in the request")
    found = _in_words(prompt)
    if found:
        policy, words = found
        return Resolution(policy, f'the prompt says "{words}"')
    return Resolution("auto", "neither automl_policy nor the prompt says otherwise")


def route(skill: Skill, request: Request) -> tuple[Route, list[Finding]]:
    """Return who runs the request, and why. The skill's metadata is only read."""
    if request.action != "train":
        return _direct(skill, f"action '{request.action}' never routes to AutoML"), []
    if not skill.info.automl_enabled:
        return _direct(skill, "the skill does not enable AutoML"), []
    resolution = resolve(request.automl_policy, request.prompt)
    if resolution.policy == "off":
        return _direct(skill, f"AutoML is off: {resolution.reason}"), []
    if not skill.is_automl_runnable("train"):
        fix = "Regenerate them with `make schemas`, or go on with direct training."
        return _direct(skill, NOT_RUNNABLE), [Finding("automl_not_runnable", "warning", NOT_RUNNABLE, fix)]
    reason = f"AutoML is enabled and {resolution.reason}"
    return Route(kind="automl", skill=AUTOML_SKILL, reason=reason, skill_dir=str(skill.folder)), []


def _direct(skill: Skill, reason: str) -> Route:
    return Route(kind="direct", skill=f"{QUALIFIER}{skill.name}", reason=reason, skill_dir=str(skill.folder))


def _in_words(prompt: str) -> tuple[Policy, str] | None:
    """Return the last statement of the prompt about the search; a negation before it, in its clause, reverses it."""
    decided: tuple[Policy, str] | None = None
    for clause in re.split(r"[.;!?\n]|,\s*|\bbut\b|\bhowever\b", prompt.lower().replace("’", "'")):
        position = 0
        while match := PHRASE.search(clause, position):
            policy = MEANINGS[int(str(match.lastgroup)[1:])][1]
            before = clause[: match.start()]
            negation = NEGATED.search(before)
            if negation:
                policy = OPPOSITE[policy]
            start = negation.start() if negation else match.start()
            decided = policy, clause[start : match.end()].strip()
            position = match.end()
    return decided
