"""Ragged models: layers of different widths, which no stock configuration can express.

A checkpoint's config.json has `"model_type": "qa-suite-ragged"`, a type that stock transformers
rejects by name, and family and widths in `qa_suite_ragged`; its weights are in
`ragged.safetensors`, where no class of transformers looks for them. In memory the configuration is
the family's own with the widths as an attribute, and the model is the family's own with modules of
other widths: a checkpoint brings no code.

Of a block without units, the output's bias and the LayerNorm stay, so that its mean output can be
kept as a constant.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lib.errors import ModelError
from qa_lib.runs import json_text

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

MODEL_TYPE = "qa-suite-ragged"
PER_LAYER = "per-layer"
"""Folder of a checkpoint that describes it as stock transformers will read it."""

_KEY = "qa_suite_ragged"


@dataclass(frozen=True)
class Blocks:
    """The widths of each layer; heads of all layers have the same size.

    Attributes:
        num_heads: Attention heads of each layer, 0 where it has no attention.
        intermediate_size: Feed-forward units of each layer, 0 where it has no feed-forward part.
    """

    num_heads: tuple[int, ...]
    intermediate_size: tuple[int, ...]

    def of(self, layers: Sequence[int]) -> Blocks:
        """Return the widths of these layers."""
        heads, widths = self.num_heads, self.intermediate_size
        return Blocks(tuple(heads[i] for i in layers), tuple(widths[i] for i in layers))


@dataclass(frozen=True)
class _Family:
    """Names of modules: `layers` in the base model, the others in a layer.

    Attributes:
        layers: List of layers.
        inputs: Linear maps to queries, keys and values, inside the module bypassed without heads.
        output: Linear map from the outputs of the heads.
        first: Linear map to the feed-forward units, inside the module bypassed without units.
        second: Linear map from them.
        width_key: The configuration's name for the number of these units.
    """

    layers: str
    inputs: tuple[str, str, str]
    output: str
    first: str
    second: str
    width_key: str = "intermediate_size"


_BERT = _Family(
    layers="encoder.layer",
    inputs=("attention.self.query", "attention.self.key", "attention.self.value"),
    output="attention.output.dense",
    first="intermediate.dense",
    second="output.dense",
)

RAGGED_FAMILIES = {
    "bert": _BERT,
    "distilbert": _Family(
        layers="transformer.layer",
        inputs=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        output="attention.out_lin",
        first="ffn.lin1",
        second="ffn.lin2",
        width_key="hidden_dim",
    ),
    "electra": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
}


def blocks_of(config: Any) -> Blocks | None:
    """Return the widths of a ragged model's configuration; None for a stock one."""
    widths = getattr(config, _KEY, None)
    if widths is None:
        return None
    return Blocks(tuple(widths["num_heads"]), tuple(widths["intermediate_size"]))


def mark(config: Any, blocks: Blocks | None) -> Any:
    """Set the widths of a configuration, and return it; None leaves it stock."""
    if blocks is not None:
        setattr(config, _KEY, {name: list(widths) for name, widths in asdict(blocks).items()})
    return config


def read_config(folder: str | Path) -> Any | None:
    """Return the configuration of a ragged checkpoint; None for any other folder.

    Raises:
        ModelError: It is damaged, or of a family that this version cannot build.
    """
    from transformers import CONFIG_MAPPING

    try:
        values = json_text.parse((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # the reader of stock configurations says what is wrong
    if not isinstance(values, dict) or values.get("model_type") != MODEL_TYPE:
        return None
    widths = values.pop(_KEY, None)
    try:
        family = widths["family"]
        blocks = Blocks(tuple(widths["num_heads"]), tuple(widths["intermediate_size"]))
        if family not in RAGGED_FAMILIES:
            raise ValueError(f"family {family}")
        config = CONFIG_MAPPING[family].from_dict(values | {"model_type": family})
        _check(config, blocks)
    except Exception as error:  # transformers raises what Python has
        raise ModelError(
            f"{folder}/config.json does not describe a valid ragged model: {error}.",
            "Restore it, or adjust the parent again with --adjust.plan.",
        ) from None
    return mark(config, blocks)


def mark_folder(config: Any, folder: str | Path) -> None:
    """Turn what transformers has written into a ragged checkpoint, if its model is ragged.

    The weights get another name, because a class such as BertForQuestionAnswering reads any
    `model_type`, and would give random weights to blocks that were dropped.
    """
    if blocks_of(config) is None:
        return
    for file in Path(folder).glob("model*.safetensors*"):
        file.replace(file.with_name(file.name.replace("model", "ragged", 1)))
    path = Path(folder) / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    _describe_per_layer(config, values, Path(folder))
    values[_KEY] = {"family": values["model_type"], **values[_KEY]}
    values["model_type"] = MODEL_TYPE
    values.pop("architectures", None)  # it would name a stock class
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _describe_per_layer(config: Any, values: dict[str, Any], folder: Path) -> None:
    """Write how stock transformers describes layers of different widths, beside our own way.

    transformers has `per_layer_config` since 5.15, and no BERT that heeds it yet: until then it
    refuses to build such a model. It cannot describe fewer heads of the same size, nor a block of
    which only a constant is left: nothing is written for these.
    """
    from safetensors import safe_open

    blocks = blocks_of(config)
    assert blocks is not None, "checked by mark_folder"
    if set(blocks.num_heads) != {config.num_attention_heads} or not all(blocks.intermediate_size):
        return
    key = RAGGED_FAMILIES[config.model_type].width_key
    layers = {str(i): {key: width} for i, width in enumerate(blocks.intermediate_size)}
    own = {name: value for name, value in values.items() if name != _KEY}
    places: dict[str, str] = {}
    num_bytes = 0
    for file in sorted(folder.glob("ragged*.safetensors")):
        with safe_open(file, "pt") as tensors:
            places |= dict.fromkeys(tensors.keys(), f"../{file.name}")
        num_bytes += file.stat().st_size
    index = {"metadata": {"total_size": num_bytes}, "weight_map": places}
    beside = folder / PER_LAYER
    beside.mkdir(exist_ok=True)
    for name, content in (
        ("config.json", own | {"per_layer_config": layers}),
        ("model.safetensors.index.json", index),
    ):
        text = json.dumps(content, indent=2, sort_keys=True) + "\n"
        (beside / name).write_text(text, encoding="utf-8")


def reshape(model: PreTrainedModel) -> None:
    """Give the layers of a newly built model the widths of its configuration.

    The new modules have random weights, until those of a checkpoint are loaded.
    """
    blocks = blocks_of(model.config)
    if blocks is None:
        return
    config, family = model.config, RAGGED_FAMILIES[model.config.model_type]
    head_size = config.hidden_size // config.num_attention_heads
    layers = model.base_model.get_submodule(family.layers)
    widths = zip(blocks.num_heads, blocks.intermediate_size, strict=True)
    for layer, (num_heads, width) in zip(layers.children(), widths, strict=True):
        if num_heads:
            for name in family.inputs:
                _resize(layer, name, num_out=num_heads * head_size)
            _resize(layer, family.output, num_in=num_heads * head_size)
            attention = layer.get_submodule(_parent(family.inputs[0]))
            for name in ("num_attention_heads", "n_heads"):
                if hasattr(attention, name):
                    setattr(attention, name, num_heads)
        else:
            _bypass(layer, _parent(family.inputs[0]), family.output, in_pair=True)
        if width:
            _resize(layer, family.first, num_out=width)
            _resize(layer, family.second, num_in=width)
        else:
            _bypass(layer, _parent(family.first), family.second, in_pair=False)


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _resize(
    layer: nn.Module, name: str, *, num_in: int | None = None, num_out: int | None = None
) -> None:
    from torch import nn

    old: Any = layer.get_submodule(name)
    new = nn.Linear(
        num_in or old.in_features,
        num_out or old.out_features,
        bias=old.bias is not None,
        dtype=old.weight.dtype,
    )
    layer.set_submodule(name, new)


def _bypass(layer: nn.Module, block: str, output: str, *, in_pair: bool) -> None:
    """Replace a block by the identity, and its output map by its bias alone."""
    import torch
    from torch import nn

    class Constant(nn.Module):
        """A linear map without inputs: it returns its bias."""

        def __init__(self, like: torch.Tensor) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros_like(like))

        def forward(self, units: torch.Tensor) -> torch.Tensor:
            return self.bias.expand(*units.shape[:-1], -1)

    class Bypass(nn.Module):
        """A block without units; it holds its output map, if that is inside of the block."""

        def forward(self, units: torch.Tensor, *_: Any, **__: Any) -> Any:
            for child in self.children():
                units = child(units)
            return (units, None) if in_pair else units

    old: Any = layer.get_submodule(output)
    bypass = Bypass()
    if output.startswith(f"{block}."):
        bypass.add_module(output[len(block) + 1 :], Constant(old.bias))
    else:
        layer.set_submodule(output, Constant(old.bias))
    layer.set_submodule(block, bypass)


def _check(config: Any, blocks: Blocks) -> None:
    for name, widths in asdict(blocks).items():
        if len(widths) != config.num_hidden_layers:
            raise ValueError(f"{name} names {len(widths)} of {config.num_hidden_layers} layers")
        if any(not isinstance(width, int) or width < 0 for width in widths):
            raise ValueError(f"{name} {list(widths)} are no widths")
