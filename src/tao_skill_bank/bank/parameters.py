"""Declares one parameter of a spec dataclass: its default, validity, search domain and documentation.

Validity and search are separate: `minimum`/`maximum` define what can run, `Search` what AutoML
explores. Both end up in the JSON Schema that `tao_skill_bank.bank.schema` generates.
"""

from dataclasses import dataclass as plain_dataclass
from typing import Any, TypeVar, cast, dataclass_transform

import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

REQUIRED: Any = ...
T = TypeVar("T")


@plain_dataclass(frozen=True)
class Search:
    """The domain that AutoML explores for one parameter.

    `math_cond` restricts values further: "^ 2" means powers of two, "/ 2" means at most half of the
    parameter named by `depends_on`. `around` keeps a search within this factor of the request's value, up or down;
    with `ratio_to`, the path of another parameter, the ratio of the two stays within this factor.
    """

    minimum: float | None = None
    maximum: float | None = None
    log: bool = False
    math_cond: str | None = None
    around: float | None = None
    ratio_to: str | None = None

    def to_json(self) -> dict[str, Any]:
        values = {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "math_cond": self.math_cond,
            "around": self.around,
            "ratio_to": self.ratio_to,
        }
        document: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
        if self.log:
            document["log"] = True
        return document


def parameter(  # noqa: PLR0913 - one keyword per schema keyword
    default: Any = REQUIRED,
    *,
    doc: str,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    search: Search | None = None,
    automl: bool | None = None,
    popular: bool = False,
    depends_on: str | None = None,
    option_weights: list[float] | None = None,
    pattern: str | None = None,
    free_text: bool = False,
    template: Any = None,
) -> Any:
    """Return a pydantic field with the annotation keywords of an action schema.

    Args:
        default: value if the spec does not set it; a dict or list is copied per instance; `REQUIRED` for none.
        doc: one sentence; becomes the schema's `description` and the comment in the spec template.
        minimum: smallest value that can run.
        maximum: largest value that can run.
        above: values must be greater than this.
        below: values must be less than this.
        min_length: fewest characters or items.
        max_length: most characters or items.
        pattern: regular expression of a string.
        free_text: it is prose, such as a prompt: line ends and tabs are kept. Any other text is one plain line.
        search: the AutoML domain; its presence makes the parameter searchable.
        automl: True puts it among `automl_default_parameters`, False among the disabled ones,
            None leaves it available to a search that names it.
        popular: shown first to people.
        depends_on: dotted path of the parameter that bounds or gates this one.
        option_weights: sampling weights of an enum, in the enum's order.
        template: value in the spec template where it differs from the default. A key that a user may remove
            (`--set path=null`) has default None, so that its absence from a config file means "not set".

    """
    extra: dict[str, Any] = {} if template is None else {"default": template, "removable": True}
    if search is not None:
        extra["search"] = search.to_json()
        if search.math_cond:
            extra["math_cond"] = search.math_cond
    if automl is not None:
        extra["automl_enabled"] = automl
    if free_text:
        extra["free_text"] = True
    if popular:
        extra["popular"] = True
    if depends_on:
        extra["depends_on"] = depends_on
    if option_weights:
        extra["option_weights"] = option_weights
    options: dict[str, Any] = {
        "description": doc,
        "ge": minimum,
        "le": maximum,
        "gt": above,
        "lt": below,
        "min_length": min_length,
        "max_length": max_length,
        "pattern": pattern,
        "json_schema_extra": extra or None,
    }
    options = {key: value for key, value in options.items() if value is not None}
    if isinstance(default, (dict, list)):
        extra["default"] = default
        options["json_schema_extra"] = extra
        return pydantic.Field(default_factory=lambda: type(default)(default), **options)
    return pydantic.Field(default, **options)


def group(kind: type, *, doc: str) -> Any:
    """Return a field that holds a nested dataclass, built from its own defaults. AutoML never searches a group."""
    return pydantic.Field(
        default_factory=kind, description=doc, json_schema_extra={"automl_enabled": False, "default": {}}
    )


def optional_group(*, doc: str) -> Any:
    """Return a field for an optional nested dataclass; the template includes it, and its absence means None."""
    extra: dict[str, Any] = {"automl_enabled": False, "default": {}, "removable": True}
    return pydantic.Field(None, description=doc, json_schema_extra=extra)


@dataclass_transform(frozen_default=True)
def spec_dataclass(kind: type[T]) -> type[T]:
    """Make a spec dataclass: frozen, strict types, no unknown keys, no infinities.

    Two optional class attributes express constraints over several fields in the JSON Schema:
    `exactly_one: ClassVar = ("a", "b")` and `together: ClassVar = ("c", "d")`.
    """
    keywords: dict[str, Any] = {}
    if exclusive := getattr(kind, "exactly_one", None):
        keywords["oneOf"] = [{"required": [name]} for name in exclusive]
    if together := getattr(kind, "together", None):
        keywords["dependentRequired"] = {name: [other for other in together if other != name] for name in together}
    config = pydantic.ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=(), json_schema_extra=keywords
    )
    return cast(type[T], pydantic_dataclass(frozen=True, config=config)(kind))
