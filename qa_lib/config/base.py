"""What every group of settings has, and the kinds of values that several fields share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

Name = Annotated[str, Field(min_length=1)]
# A user writes "auto" for "decide for me"; code reads None.
Auto = BeforeValidator(lambda value: None if value == "auto" else value)
# YAML reads an unquoted 1.1 as a number.
Text = BeforeValidator(lambda value: str(value) if isinstance(value, float) else value)
Memory = Annotated[str, Field(pattern=r"^(\d+|cpu)=\d+(\.\d+)?[KMG]i?B$")]

BrokenRules = Iterator[tuple[tuple[str, ...], str]]
"""The settings that a rule concerns and what is wrong, for every rule that does not hold."""


class RuleError(ValueError):
    """Rules between settings that do not hold; pydantic collects it with all other errors.

    Attributes:
        rules: The settings concerned, such as ("data.stride", "data.max_length"), and the message.
    """

    def __init__(self, *rules: tuple[tuple[str, ...], str]) -> None:
        """Join the messages, for whoever prints the error itself."""
        super().__init__("; ".join(message for _, message in rules))
        self.rules = rules


class Group(BaseModel):
    """A group of settings: immutable, no unknown keys, no NaN or infinity.

    A bound on one field stands on the field; what several fields must satisfy together stands in
    `broken_rules` of their group. What only the model, the data or the machine can decide is
    checked where those are known.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        hide_input_in_errors=True,  # a wrong value may hold a secret
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

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_flags(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse YAML's yes, no, on and off where a number is meant: they would be 1 and 0."""
        if isinstance(value, bool) and info.field_name is not None:
            kinds = set(_types_in(cls.model_fields[info.field_name].annotation))
            if bool not in kinds and kinds & {int, float}:
                return str(value)  # which pydantic refuses
        return value

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        """Report all broken rules at once; a plain validator would stop at the first."""
        broken = [*self.broken_rules()]
        if broken:
            raise RuleError(*broken)
        return self


def _types_in(annotation: Any) -> Iterator[Any]:
    """Yield the plain types of an annotation, such as int and NoneType of `Positive | None`."""
    parts = get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _types_in(part)
