"""The pruning plan: which units stay, and what is folded. Replayable, as plan.json."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from qa_lib.runs.folder import Folder
from qa_lib.runs.run_folder import PLAN, PLAN_TENSORS

if TYPE_CHECKING:
    import torch

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


# Many indices; in JSON a bitmap in base64, the lowest bit of the first byte for index 0.
Bits = Annotated[Indices, BeforeValidator(_from_bits), PlainSerializer(_to_bits, when_used="json")]


@dataclass(frozen=True)
class Tensors:
    """Tensors that belong to a plan: in its JSON their hash, beside it a safetensors file.

    Attributes:
        sha256: Of the file.
        content: The file; None where only the JSON was read.
    """

    sha256: str
    content: bytes | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> Tensors | None:
        """Store tensors; None where there are none."""
        from safetensors.torch import save

        if not tensors:
            return None
        content = save(dict(sorted(tensors.items())))
        return cls(hashlib.sha256(content).hexdigest(), content)

    def load(self) -> dict[str, torch.Tensor]:
        """Return the tensors by name.

        Raises:
            AdjustError: Only the JSON was read.
        """
        from safetensors.torch import load

        if self.content is None:
            raise AdjustError(
                f"The plan's refitted weights are missing: no {PLAN_TENSORS} was read with it.",
                f"Keep plan.json and {PLAN_TENSORS} in one folder, as `make adjust` wrote them.",
            )
        return dict(sorted(load(self.content).items()))  # safetensors returns them in any order


# In JSON the hash of the file beside it.
Stored = Annotated[
    Tensors,
    BeforeValidator(lambda value: Tensors(value) if isinstance(value, str) else value),
    PlainSerializer(lambda tensors: tensors.sha256, return_type=str, when_used="json"),
]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Keep(_Record):
    """Indices of the parent's units that stay, ascending; nested ones are per kept layer.

    Attributes:
        layers: Layers.
        hidden: Units of the residual stream.
        head: Units between encoder and classifier, in families that have them.
        heads: Attention heads.
        query_key: Rows of the query and key maps: units of the kept heads.
        value: Rows of the value map, and columns of the map that reads it: units of the kept heads.
        intermediate: Feed-forward units.
        vocabulary: Tokens; all where None.
        ragged: Whether layers differ in heads and intermediate units. A layer without heads has
            lost its attention, one without units its feed-forward part, but for a constant.
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
        if group.name == "vocabulary" and self.vocabulary is None:
            return tuple(range(group.width))
        layer, _, kind = group.name.rpartition(".")
        indices: Any = getattr(self, kind)
        return indices[int(layer)] if layer else indices

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
    """Gain of a LayerNorm over the kept dimensions, refitted, and its shift where it has one."""

    weight: tuple[float, ...]
    bias: tuple[float, ...] | None


def floats(values: torch.Tensor) -> tuple[float, ...]:
    """Round to float32, so that the values in JSON are exactly those that are used."""
    return tuple(values.float().tolist())


class Fold(_Record):
    """What the cut model takes over from what it lost. Modules have the adjusted model's names.

    Attributes:
        held: The removed units' means, in the order of their indices, by the linear map that reads
            them: its weights on them times these are added to its bias.
        norms: The LayerNorms that are refitted.
        tensors: Weights and biases of the linear maps that are refitted, as the cut model has them
            but for the factor of another head size; None where there are none.
        residual: Largest residual of their normal equations, relative to the equations' terms.
    """

    held: dict[str, tuple[float, ...]] = {}
    norms: dict[str, Norm] = {}
    tensors: Stored | None = None
    residual: float = Field(default=0.0, ge=0.0)

    @property
    def refitted(self) -> dict[str, torch.Tensor]:
        """The tensors by name.

        Raises:
            AdjustError: The plan was read without them.
        """
        return {} if self.tensors is None else self.tensors.load()


class Coupling(_Record):
    """One group of the parent: how many units it had, how many stay, and what it couples.

    `dimensions` are written as `TENSOR[DIMENSION]`.
    """

    width: int
    kept: int
    dimensions: tuple[str, ...]


class Plan(_Record):
    """All that surgery needs apart from the parent.

    Attributes:
        version: Of this format.
        family: The parent's architecture.
        parent_sha256: Identity of the parent's configuration and weights.
        importance: How the units were scored.
        keep: What stays.
        scores: The scores behind it, by group of the kept layers; `LAYER.heads` for heads.
        groups: What each group couples, by its name in the kept layers.
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
    def from_json(cls, text: str, name: str = "plan.json", *, tensors: bytes | None = None) -> Plan:
        """Parse a plan; `name` is used in errors.

        Args:
            text: plan.json.
            name: Its path or URL.
            tensors: The file of refitted weights beside it; a plan without them can be looked at,
                but not applied.

        Raises:
            AdjustError: The text is no plan, or has another version, or the weights are others.
        """
        remedy = "Pass a plan.json that `make adjust` wrote, unchanged."
        try:
            plan = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise AdjustError(
                f"{name} is no pruning plan: {place}: {first['msg']}.", remedy
            ) from None
        if plan.version != _VERSION:
            raise AdjustError(f"{name} has version {plan.version}, not {_VERSION}.", remedy)
        expected = plan.fold.tensors
        if expected is None or tensors is None:
            return plan
        found = Tensors(hashlib.sha256(tensors).hexdigest(), tensors)
        if found != expected:
            raise AdjustError(
                f"{PLAN_TENSORS} beside {name} does not hold the weights that the plan names: its"
                f" SHA-256 is {found.sha256[:12]}, not {expected.sha256[:12]}.",
                f"Restore {PLAN} and {PLAN_TENSORS} of one run of `make adjust`.",
            )
        fold = plan.fold.model_copy(update={"tensors": found})
        return plan.model_copy(update={"fold": fold})

    @classmethod
    def read(cls, folder: Folder) -> Plan:
        """Read the plan of a run or of a trial, and its weights where it has some."""
        beside = folder.exists(PLAN_TENSORS)
        tensors = folder.read_bytes(PLAN_TENSORS).to_pybytes() if beside else None
        return cls.from_json(folder.read_text(PLAN), folder.url(PLAN), tensors=tensors)

    def write(self, folder: Folder) -> None:
        """Write the plan into the folder of a run or of a trial: its JSON last."""
        if self.fold.tensors is not None and self.fold.tensors.content is not None:
            folder.write_bytes(PLAN_TENSORS, self.fold.tensors.content)
        folder.write_text(PLAN, self.to_json())

    def check_parent(self, parent_sha256: str, name: str) -> None:
        """Check that the plan was made for this checkpoint.

        Raises:
            AdjustError: The plan was made for another checkpoint.
        """
        if parent_sha256 == self.parent_sha256:
            return
        sizes = self.keep.sizes
        heads, width = sizes.means
        raise AdjustError(
            f"The plan was made for another checkpoint than {name}: its parent has the"
            f" fingerprint {self.parent_sha256[:12]}, this one {parent_sha256[:12]}.",
            "Name the plan's parent with --model.name, or make a plan for this model with sizes"
            f" of your own: this plan's are --adjust.num-layers {len(sizes.layers)}"
            f" --adjust.intermediate-size {width} --adjust.hidden-size {sizes.hidden_size}"
            f" --adjust.num-heads {heads}{'' if sizes.blocks is None else ' --adjust.ragged'}.",
        )


def _lines(value: Any, indent: str = "") -> str:
    """Format JSON: a line for each entry of a dictionary, one line for a list of numbers."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        items = [f"{inner}{json.dumps(key)}: {_lines(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and value and not isinstance(value[0], int | float):
        return "[\n" + ",\n".join(inner + _lines(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value)
