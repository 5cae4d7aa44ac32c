"""The plan: which units of which dimension stay, and what is folded. Replayable, as plan.json."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PlainSerializer,
    ValidationError,
)

from qa_lib.adjust.sizes import Sizes
from qa_lib.errors import AdjustError
from qa_lib.models.ragged import Blocks

if TYPE_CHECKING:
    from qa_lib.adjust.groups import Group

_VERSION = 1

Indices = tuple[NonNegativeInt, ...]


def _to_bits(indices: Indices) -> str:
    bits = np.zeros(max(indices, default=-1) + 1, bool)
    bits[list(indices)] = True
    return base64.b64encode(np.packbits(bits, bitorder="little").tobytes()).decode("ascii")


def _from_bits(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    data = np.frombuffer(base64.b64decode(value, validate=True), np.uint8)
    return tuple(np.flatnonzero(np.unpackbits(data, bitorder="little")).tolist())


# Many indices, in JSON as base64 of one bit for each, the lowest bit of the first byte for 0.
Bits = Annotated[Indices, BeforeValidator(_from_bits), PlainSerializer(_to_bits, when_used="json")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Keep(_Record):
    """Indices of the parent's units that stay, ascending. Per kept layer where nested.

    Attributes:
        layers: Layers.
        hidden: Units of the residual stream.
        head: Units between the encoder and the classifier, in families with such.
        heads: Attention heads.
        query_key: Rows of the query and key maps: units of the kept heads.
        value: Rows of the value map, and columns of the map that reads it: likewise.
        intermediate: Feed-forward units.
        vocabulary: Tokens; all where None.
        ragged: Whether layers differ in heads and intermediate units; without any of them, a layer
            has lost its attention, or its feed-forward part, but for a constant.
    """

    layers: Indices = Field(min_length=1)
    hidden: Indices
    head: Indices = ()
    heads: tuple[Indices, ...] = Field(min_length=1)
    query_key: tuple[Indices, ...]
    value: tuple[Indices, ...]
    intermediate: tuple[Indices, ...] = Field(min_length=1)
    vocabulary: Bits | None = Field(default=None, min_length=1)
    ragged: bool = False

    def of(self, group: Group) -> Indices:
        """Return the kept units of a group (`hidden`, `LAYER.KIND`, ...) of the kept layers."""
        if group.name == "heads":
            return self.heads[0]
        if group.name in ("hidden", "head"):
            return self.head if group.name == "head" else self.hidden
        if group.name == "vocabulary":
            return tuple(range(group.width)) if self.vocabulary is None else self.vocabulary
        layer, kind = group.name.split(".")
        indices: Indices = getattr(self, kind)[int(layer)]
        return indices

    @property
    def sizes(self) -> Sizes:
        """The sizes that these indices give."""
        heads, widths = (tuple(map(len, lists)) for lists in (self.heads, self.intermediate))
        num_hidden, num_heads, blocks = len(self.hidden), heads[0], None
        if self.ragged:
            pairs = zip(self.heads, self.value, strict=True)
            head_size = next((len(units) // len(own) for own, units in pairs if own), num_hidden)
            num_heads, blocks = num_hidden // head_size, Blocks(heads, widths)
        return Sizes(
            self.layers,
            num_hidden,
            num_heads,
            max(widths),
            None if self.vocabulary is None else len(self.vocabulary),
            blocks,
        )


class Norm(_Record):
    """Gain and shift of a LayerNorm over the kept dimensions, refitted on calibration windows.

    There is no shift in families whose norms have none.
    """

    weight: tuple[float, ...]
    bias: tuple[float, ...] | None


class Fold(_Record):
    """What the cut model takes over from what it lost. Modules carry the adjusted model's names.

    Attributes:
        held: The removed units' mean, in the order of their indices, by the linear map that reads
            them: its weights on them times this is added to its bias.
        norms: The LayerNorms that are refitted.
    """

    held: dict[str, tuple[float, ...]] = {}
    norms: dict[str, Norm] = {}


class Coupling(_Record):
    """One group of the parent: dimensions that must be cut together.

    Attributes:
        width: Units before the cut.
        kept: Units after it.
        dimensions: The dimensions it ties, as `TENSOR[DIMENSION]`.
    """

    width: int
    kept: int
    dimensions: tuple[str, ...]


class Plan(_Record):
    """Everything that the surgery needs beside the parent.

    Attributes:
        version: Of this format.
        family: The parent's architecture.
        parent_sha256: Identity of the parent's configuration and weights.
        importance: How the units were scored.
        keep: What stays.
        scores: The scores behind it, by group of the kept layers; `LAYER.heads` for heads.
        groups: What each group ties, by its name in the kept layers.
        fold: What is folded.
        changed: Tensors that are not a plain selection of the parent's values, with the reason.
    """

    version: int = _VERSION
    family: str
    parent_sha256: str
    importance: str
    keep: Keep
    scores: dict[str, tuple[float, ...]] = {}
    groups: dict[str, Coupling] = {}
    fold: Fold = Fold()
    changed: dict[str, str] = {}

    def to_json(self) -> str:
        """Return the plan as JSON, a line for each list of numbers; equal plans are equal text."""
        return _lines(self.model_dump(mode="json")) + "\n"

    @classmethod
    def from_json(cls, text: str, name: str = "plan.json") -> Plan:
        """Read a plan.

        Raises:
            AdjustError: It is no plan, or one of another version.
        """
        remedy = "Pass a plan.json that `make adjust` wrote, unchanged."
        try:
            plan = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise AdjustError(f"{name} is no plan: {place}: {first['msg']}.", remedy) from None
        if plan.version != _VERSION:
            raise AdjustError(f"{name} has version {plan.version}, not {_VERSION}.", remedy)
        return plan

    def check_parent(self, parent_sha256: str, name: str) -> None:
        """Refuse to cut a checkpoint that the plan was not made for.

        Raises:
            AdjustError: It was made for another one.
        """
        if parent_sha256 != self.parent_sha256:
            raise AdjustError(
                f"The plan was made for another checkpoint than {name}: its parent has the"
                f" fingerprint {self.parent_sha256[:12]}, this one {parent_sha256[:12]}.",
                "Name the plan's parent with --model.name, or make a plan for this model with"
                f" sizes of your own: this plan's are {_flags(self.keep.sizes)}.",
            )


def _flags(sizes: Sizes) -> str:
    heads, width = sizes.means
    return (
        f"--adjust.num-layers {len(sizes.layers)} --adjust.intermediate-size {width}"
        f" --adjust.hidden-size {sizes.hidden_size} --adjust.num-heads {heads}"
        f"{'' if sizes.blocks is None else ' --adjust.ragged'}"
    )


def _lines(value: Any, indent: str = "") -> str:
    """Format JSON with dictionaries over several lines and lists of numbers on one."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        items = [f"{inner}{json.dumps(key)}: {_lines(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and value and not isinstance(value[0], int | float):
        return "[\n" + ",\n".join(inner + _lines(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value)
