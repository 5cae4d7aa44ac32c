"""What every group of settings has, and the kinds of values that several fields share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

Name = Annotated[str, Field(min_length=1)]
# A user writes "auto" for "decide for me"; code reads None.
Auto = BeforeValidator(lambda value: None if value == "auto" else value)
# YAML reads an unquoted 1.1 as a number.
Text = BeforeValidator(lambda value: str(value) if isinstance(value, float) else value)
Memory = Annotated[str, Field(pattern=r"^(\d+|cpu)=\d+(\.\d+)?[KMG]i?B$")]

BrokenRules = Iterator[tuple[tuple[str, ...], str]]
"""The fields of a rule, and what is wrong, for every rule that does not hold."""

BROKEN_RULE = "broken_rule"
"""Type of the errors about a rule between fields; their context holds `fields`."""


def broken_rule(fields: tuple[str, ...], message: str) -> PydanticCustomError:
    """Return the error for a rule between fields of one group."""
    return PydanticCustomError(BROKEN_RULE, "{message}", {"message": message, "fields": fields})


class Group(BaseModel):
    """A group of settings: immutable, no unknown keys, no NaN or infinity.

    A bound on one field stands on the field; what several fields must satisfy together stands in
    `broken_rules` of their group. What only the model, the data or the machine can decide is
    checked where those are known.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    def broken_rules(self) -> BrokenRules:
        """Yield the rules between fields that do not hold."""
        yield from ()

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, values: Any) -> Any:
        """Read the text "none" as None where that is allowed, and a group without content as {}."""
        if not isinstance(values, dict):
            return values
        plain = {}
        for name, value in values.items():
            field = cls.model_fields.get(name) if isinstance(name, str) else None
            if field is not None and value in ("none", ("none",), ["none"]):
                value = None if type(None) in get_args(field.annotation) else value
            if value is None and field is not None and field.default_factory is not None:
                value = {}
            plain[name] = value
        return plain

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        """Report all broken rules at once; a plain validator would stop at the first."""
        broken = [
            InitErrorDetails(
                type=broken_rule(fields, message),
                loc=fields[:1],
                input=getattr(self, fields[0]),
            )
            for fields, message in self.broken_rules()
        ]
        if broken:
            raise ValidationError.from_exception_data(type(self).__name__, broken)
        return self
