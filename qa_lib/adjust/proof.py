"""The proof that an adjusted model is what its plan says, made before anything is written.

Four parts: the shapes are those of a model built anew from the written configuration; kept tensors
are the parent's, bit for bit; the logits are the parent's with the removed units held at what was
folded; and the groups are complete, because reordering each one's units changes no logit.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Batch, model_inputs
from qa_lib.adjust.dimensions import Dimensions, Group, label, shapes_of
from qa_lib.adjust.families import family_of
from qa_lib.adjust.fold import complement, normalise
from qa_lib.adjust.plan import Indices, Plan
from qa_lib.adjust.surgery import take
from qa_lib.errors import AdjustError
from qa_lib.model import maximum_length

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

LOGIT_TOLERANCE = 1e-5  # of float64 logits: folded biases are rounded to the weights' float32
PERMUTATION_TOLERANCE = 1e-9  # of float64 logits, relative to the largest


@dataclass(frozen=True)
class Proof:
    """What was shown.

    Attributes:
        num_tensors: Tensors whose shape is the configuration's.
        num_identical: Tensors that are the parent's at the plan's indices, bit for bit.
        max_logit_error: Largest distance to the parent with its removed units held.
        max_permutation_error: Largest change of the parent's logits when groups are reordered,
            relative to the largest logit.
    """

    num_tensors: int
    num_identical: int
    max_logit_error: float
    max_permutation_error: float


def prove(parent: PreTrainedModel, child: PreTrainedModel, plan: Plan) -> Proof:
    """Prove that `child` is `parent` cut as the plan says.

    Args:
        parent: The plan's parent, in evaluation mode.
        child: The adjusted model.
        plan: What was cut and folded.

    Raises:
        AdjustError: One part fails; nothing of the child can be trusted then.
    """
    dimensions = label(parent.config)
    batch = probe(parent.config, plan.keep.vocabulary)
    num_tensors = check_shapes(child)
    num_identical = check_bits(parent, child, plan)
    parent, child = _double(parent), _double(child)
    permutation_error = check_permutation(parent, dimensions, batch)
    logit_error = check_logits(parent, child, plan, batch)
    return Proof(num_tensors, num_identical, logit_error, permutation_error)


def check_shapes(child: PreTrainedModel) -> int:
    """Compare every tensor's shape with a model built anew from the configuration."""
    expected = shapes_of(child.config)
    found = {name: tuple(tensor.shape) for name, tensor in child.state_dict().items()}
    wrong = [name for name in expected | found if expected.get(name) != found.get(name)]
    _require(not wrong, f"these tensors do not fit the configuration: {wrong[:3]}")
    return len(found)


def check_bits(parent: PreTrainedModel, child: PreTrainedModel, plan: Plan) -> int:
    """Compare the tensors that the plan does not name as changed with the parent's, by bits."""
    import torch

    dimensions = label(parent.config)
    layers = dimensions.stored(plan.keep.layers)
    source = parent.state_dict()
    groups = _by_child_layer(dimensions, layers)
    num_identical = 0
    for name, tensor in child.state_dict().items():
        if name in plan.changed:
            continue
        origin = str(dimensions.rename(name, layers))
        places = [(groups[group.name], axis) for group, axis in dimensions.axes[origin]]
        expected = take(source[origin], places, plan.keep)
        same = torch.equal(expected.cpu(), tensor.cpu())
        _require(same, f"{name} is not the parent's {origin} at the plan's indices")
        num_identical += 1
    return num_identical


def check_logits(
    parent: PreTrainedModel, child: PreTrainedModel, plan: Plan, batch: Batch
) -> float:
    """Compare the child's logits with those of the parent with its removed units held.

    Args:
        parent: In float64.
        child: In float64.
        plan: What was cut and folded.
        batch: A few windows.
    """
    with held(parent, plan):
        expected = logits(parent, batch)
    error = float((logits(child, renumbered(batch, plan)) - expected).abs().max())
    _require(
        error <= LOGIT_TOLERANCE,
        f"the logits differ by {error:.1e} from the parent's with the removed units held",
    )
    return error


def check_permutation(parent: PreTrainedModel, dimensions: Dimensions, batch: Batch) -> float:
    """Reorder the units of every group, which must not change a logit.

    Weights are jittered first: where a LayerNorm's gain is one everywhere, reordering it shows
    nothing. The softmax over keys hides their bias, which adds the same to every key's score: a
    wrong dimension there shows in the shapes.

    Args:
        parent: In float64.
        dimensions: The groups to test.
        batch: A few windows.

    Returns:
        The largest change, relative to the largest logit.
    """
    jittered = copy.deepcopy(parent)
    _jitter(jittered)
    reference = logits(jittered, batch)
    error = _permutation_error(jittered, dimensions, dimensions.groups, batch, reference)
    if error > PERMUTATION_TOLERANCE:
        apart = _apart(dimensions)
        wrong = [
            " with ".join(group.name for group in groups)
            for groups in apart
            if _permutation_error(jittered, dimensions, groups, batch, reference)
            > PERMUTATION_TOLERANCE
        ]
        _require(
            False, f"reordering the units of {', '.join(wrong)} changes the logits by {error:.1e}"
        )
    return error


def _apart(dimensions: Dimensions) -> list[list[Group]]:
    """Return the smallest sets of groups that can be reordered without the rest.

    Heads move whole, so that an attention's two groups go together, and where one tensor serves the
    heads of all layers, all attentions.
    """
    attentions = [[layer.query_key, layer.value] for layer in dimensions.layers]
    heads = [group for group in dimensions.others if group.name == "heads"]
    if heads:
        attentions = [[*heads, *(group for pair in attentions for group in pair)]]
    rest = [dimensions.hidden, *(layer.intermediate for layer in dimensions.layers)]
    rest += [group for group in dimensions.others if group not in heads]
    return [*([group] for group in rest), *attentions]


def probe(
    config: Any, vocabulary: Indices | None = None, *, num_windows: int = 2, num_tokens: int = 48
) -> Batch:
    """Draw windows of random tokens, the last one padded.

    Equality of two functions does not ask for windows that make sense, and needs no questions.

    Args:
        config: Of the model.
        vocabulary: Tokens to draw from; all where None.
        num_windows: How many.
        num_tokens: Of each, or as many as the model has positions for.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    pad_id = config.pad_token_id or 0
    longest = min(num_tokens, maximum_length(config) or num_tokens)
    tokens = torch.tensor(vocabulary or range(config.vocab_size))
    tokens = tokens[tokens != pad_id]
    input_ids = tokens[torch.randint(len(tokens), (num_windows, longest), generator=generator)]
    attention_mask = torch.ones_like(input_ids)
    attention_mask[-1, longest // 2 :] = 0
    input_ids[attention_mask == 0] = pad_id
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def renumbered(batch: Batch, plan: Plan) -> Batch:
    """Return a batch of the parent's tokens with the numbers that the child knows them by."""
    import torch

    if plan.keep.vocabulary is None:
        return batch
    kept = torch.tensor(plan.keep.vocabulary)
    return batch | {"input_ids": torch.searchsorted(kept, batch["input_ids"])}


def logits(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return start and end logits of the real tokens, of shape (2, tokens)."""
    import torch

    inputs = {key: value.to(model.device) for key, value in model_inputs(batch).items()}
    with torch.no_grad():
        output = model(**inputs)
    real = inputs["attention_mask"].bool()
    return torch.stack([output.start_logits[real], output.end_logits[real]])


@contextmanager
def held(parent: PreTrainedModel, plan: Plan) -> Iterator[None]:
    """Let a whole model compute what the plan's cut model must compute.

    It keeps all its tensors, so that this shares nothing with the surgery: what goes is held at its
    folded value where it is read, removed layers hand on what they get, and LayerNorms take their
    statistics over the kept dimensions.
    """
    dimensions = label(parent.config)
    layers = dimensions.stored(plan.keep.layers)
    groups = _by_child_layer(dimensions, layers)
    with ExitStack() as stack:

        def hook(name: str, function: Any, *, before: bool = False) -> None:
            module = parent.get_submodule(name)
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            stack.callback(register(function).remove)

        removed_layers = set(range(dimensions.num_layers)) - set(plan.keep.layers)
        if len(dimensions.layers) < dimensions.num_layers:
            passes = _hand_on(removed_layers, dimensions.num_layers)
            hook(f"{dimensions.layer_prefix}0", passes)
        else:
            for index in removed_layers:
                hook(f"{dimensions.layer_prefix}{index}", _hand_on({0}, 1))
        names = {name: dimensions.rename(name, layers) for name in plan.fold.held}
        values = {names[name]: value for name, value in plan.fold.held.items()}
        queries = {name for layer in dimensions.queries for name in layer}
        for group in dimensions.groups:
            if group.name not in groups:
                continue
            removed = complement(plan.keep.of(groups[group.name]), group.width)
            for name in group.modules("reads") if removed else ():
                value = values.get(name, (0.0,) * len(removed))
                if dimensions.layer_of(name) in (None, *layers.values()):
                    hook(name, _hold(removed, value, reads=True), before=True)
            for name in group.modules("writes") if removed else ():
                if group.name.endswith("query_key") and name in queries:
                    hook(name, _hold(removed, (0.0,) * len(removed), reads=False))
            inverse = {layer: index for index, layer in layers.items()}
            for name in group.modules("normalises") if removed else ():
                norm = plan.fold.norms.get(str(dimensions.rename(name, inverse)))
                hook(name, _restrict(plan.keep.of(group), norm))
        yield


def _hand_on(removed: set[int], num_passes: int) -> Any:
    """Return a hook that lets a layer hand on what it gets in some of its passes."""
    count = itertools.count()

    def handing(_: Any, arguments: Any, output: Any) -> Any:
        if next(count) % num_passes not in removed:
            return output
        return (arguments[0], *output[1:]) if isinstance(output, tuple) else arguments[0]

    return handing


def _hold(removed: Indices, value: tuple[float, ...], *, reads: bool) -> Any:
    """Return a hook that holds units of what a module reads or writes."""

    def holding(units: torch.Tensor) -> torch.Tensor:
        units = units.clone()
        units[..., list(removed)] = units.new_tensor(value)
        return units

    if reads:
        return lambda _, arguments: (holding(arguments[0]), *arguments[1:])
    return lambda _, __, output: holding(output)


def _restrict(kept: Indices, norm: Any) -> Any:
    """Return a hook that lets a LayerNorm normalise over the kept dimensions only."""
    index = list(kept)

    def restricted(module: Any, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        units = arguments[0][..., index]
        weight = units.new_tensor(norm.weight) if norm else module.weight[index]
        result = output.clone()
        result[..., index] = normalise(units, module.eps) * weight
        if module.bias is not None:
            result[..., index] += units.new_tensor(norm.bias) if norm else module.bias[index]
        return result

    return restricted


def _permutation_error(
    model: PreTrainedModel,
    dimensions: Dimensions,
    groups: list[Group],
    batch: Batch,
    reference: torch.Tensor,
) -> float:
    import torch

    orders = _orders(dimensions, model.config)
    permuted = copy.deepcopy(model)
    state = permuted.state_dict()
    for group in groups:
        for axis in group.axes:
            tensor = state[axis.tensor]
            order = torch.arange(tensor.shape[axis.dim])
            for start in (block * group.width for block in axis.blocks):
                order[start : start + group.width] = start + orders[group.name]
            tensor.copy_(tensor.index_select(axis.dim, order.to(tensor.device)))
    if any(group.name == "vocabulary" for group in groups):
        batch = batch | {"input_ids": orders["vocabulary"].argsort()[batch["input_ids"]]}
    change = (logits(permuted, batch) - reference).abs().max()
    return float(change / reference.abs().max())


def _orders(dimensions: Dimensions, config: Any) -> dict[str, torch.Tensor]:
    """Draw an order of every group's units: heads move whole, and units inside their head.

    Rotary positions turn a head's units each by its place, so that they stay there, and so does the
    padding, which models know by its id.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    heads = dimensions.num_heads

    def draw(count: int) -> torch.Tensor:
        """Draw one cycle through all units, so that none stays where it is."""
        cycle = torch.randperm(count, generator=generator)
        return torch.empty_like(cycle).scatter_(0, cycle, cycle.roll(1))

    orders = {group.name: draw(group.width) for group in (dimensions.hidden, *dimensions.others)}
    vocabulary = torch.arange(config.vocab_size)
    rest = vocabulary[vocabulary != (config.pad_token_id or 0)]
    orders["vocabulary"] = vocabulary.scatter(0, rest, rest[draw(len(rest))])
    rotary = family_of(config).rotary
    for layer in dimensions.layers:
        orders[layer.intermediate.name] = draw(layer.intermediate.width)
        head_order = orders["heads"] if dimensions.ties_heads else draw(heads)
        for group in (layer.query_key, layer.value):
            size = group.width // heads
            inside = [torch.arange(size) if rotary else draw(size) for _ in head_order]
            rows = torch.stack([h * size + i for h, i in zip(head_order, inside, strict=True)])
            orders[group.name] = rows.flatten()
    return orders


def _by_child_layer(dimensions: Dimensions, layers: Mapping[int, int]) -> dict[str, Group]:
    """Return the parent's groups under the name that the plan knows them by, by their own name."""
    found = {group.name: group for group in (dimensions.hidden, *dimensions.others)}
    for child, parent in layers.items():
        for group in dimensions.layers[parent]:
            kind = group.name.split(".")[1]
            found[group.name] = Group(f"{child}.{kind}", group.width, group.axes)
    return found


def _jitter(model: PreTrainedModel) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(noise.to(parameter.device), alpha=0.02)


def _double(model: PreTrainedModel) -> PreTrainedModel:
    return copy.deepcopy(model).double().eval()


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AdjustError(
            f"The adjusted model failed its proof: {otherwise}.",
            "Nothing was written. Adjust another checkpoint, and report this one.",
        )
