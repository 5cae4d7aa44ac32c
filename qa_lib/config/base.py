"""What all groups of settings share, and the kinds of values that several fields have."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1)]
# "auto" is what a user writes for "decide for me"; code reads None.
Auto = BeforeValidator(lambda value: None if value == "auto" else value)

# YAML reads an unquoted 1.1 as a number.
Text = BeforeValidator(lambda value: str(value) if isinstance(value, float) else value)

Memory = Annotated[str, Field(pattern=r"^(\d+|cpu)=\d+(\.\d+)?[KMG]i?B$")]


class Group(BaseModel):
    """What all groups share: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

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
