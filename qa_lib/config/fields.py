"""What help, messages and the reference page say about the fields of the settings tree."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

BOUND_WORDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}

_TYPE_NAMES = {str: "TEXT", int: "INT", float: "FLOAT", bool: "BOOL"}


@dataclass(frozen=True)
class Setting:
    """One field of the settings tree.

    Attributes:
        key: Dotted name, such as "train.max_steps".
        info: What pydantic knows of it.
    """

    key: str
    info: FieldInfo

    @property
    def flag(self) -> str:
        """The flag that sets it, such as --train.max-steps."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def is_bool(self) -> bool:
        """Whether it is True or False, or one of its words."""
        return bool in kinds(self.info.annotation)

    @property
    def words(self) -> list[str]:
        """The texts that it takes by name."""
        return [kind for kind in kinds(self.info.annotation) if isinstance(kind, str)]

    @property
    def is_list(self) -> bool:
        """Whether it takes several values."""
        return any(typing.get_origin(kind) is tuple for kind in kinds(self.info.annotation))

    @property
    def can_be_none(self) -> bool:
        """Whether `none` is one of its values."""
        return type(None) in kinds(self.info.annotation)

    @property
    def default(self) -> Any:
        """Its value where neither recipe nor flags set it."""
        return self.info.get_default(call_default_factory=True)

    @property
    def value_type(self) -> str:
        """What its values are, such as INT, TEXT ... or fp32|bf16."""
        if self.is_list:
            lists = [kind for kind in kinds(self.info.annotation) if typing.get_args(kind)]
            members = [kind for each in lists for kind in kinds(typing.get_args(each)[0])]
            return f"{'|'.join(_TYPE_NAMES.get(kind, str(kind)) for kind in members)} ..."
        known = [kind for kind in kinds(self.info.annotation) if kind is not type(None)]
        literals = [str(kind) for kind in known if not isinstance(kind, type)]
        return "|".join([*literals, *(_TYPE_NAMES[kind] for kind in known if kind in _TYPE_NAMES)])

    @property
    def bounds(self) -> str:
        """Bounds in words, such as "at least 0, less than 1"; of a list, those of its values."""
        limits = [*self.info.metadata, *_limits(self.info.annotation)]
        words = (
            f"{word} {format_number(getattr(limit, name))}"
            for name, word in BOUND_WORDS.items()
            for limit in limits
            if hasattr(limit, name)
        )
        return ", ".join(dict.fromkeys(words))


def settings_in(model: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """Yield every field of a settings model that is not a group, groups opened in their order."""
    for name, info in model.model_fields.items():
        group = group_of(info)
        if group is None:
            yield Setting(f"{prefix}{name}", info)
        else:
            yield from settings_in(group, f"{prefix}{name}.")


def group_of(info: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a group of settings, else None."""
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def kinds(annotation: Any) -> list[Any]:
    """Return the plain types and literal values that an annotation admits."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return kinds(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(annotation) for kind in kinds(part)]
    if origin is Literal:
        return list(typing.get_args(annotation))
    return [annotation]


def _limits(annotation: Any) -> Iterator[Any]:
    """Yield pydantic's records of the bounds inside an annotation, at any depth."""
    for part in typing.get_args(annotation):
        if isinstance(part, FieldInfo):
            yield from part.metadata
        else:
            yield from _limits(part)


def format_number(value: float) -> str:
    """Return a bound as text: 4294967295 in full, 1.0 as 1."""
    return str(value) if isinstance(value, int) else f"{value:g}"
