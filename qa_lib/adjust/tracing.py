"""The second way to what depends on what: torch-pruning's trace, which must agree with the labels.

It follows the autograd graph of the model itself from one linear map to everything that must shrink
with it. A model on which the two disagree is refused, because one of them would cut a tensor that
the other leaves whole.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.architecture import width
from qa_lib.adjust.coupling import REPORT, label, some
from qa_lib.adjust.families import family_of
from qa_lib.adjust.groups import Axis, Dimensions, LayerGroups
from qa_lib.errors import AdjustError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def trace(model: PreTrainedModel) -> Dimensions:
    """Find a model's groups by labels and by trace.

    Args:
        model: A question-answering model on the CPU.

    Raises:
        AdjustError: Its family is not declared, or labels and trace disagree.
    """
    dimensions = label(model.config)
    missing = set(model.state_dict()) ^ set(dimensions.shapes)
    if missing:
        raise AdjustError(
            f"The model holds other tensors than its configuration says: {some(missing)}.", REPORT
        )
    _check_trace(model, dimensions)
    return dimensions


def _check_trace(model: PreTrainedModel, dimensions: Dimensions) -> None:
    """Refuse a model on which the trace finds other groups than the labels."""
    graph, prune = _dependency_graph(model)
    modules = dict(model.named_modules())
    names = {module: name for name, module in modules.items()}
    untraced = family_of(model.config).untraced
    for layer, queries in zip(dimensions.layers, dimensions.queries, strict=True):
        # Any map that writes a group will do as its root, but for the classifier: what it writes is
        # the logits. The trace sees heads as one: queries, keys and values meet in the attention.
        output = layer.value.modules("reads")[0]
        expected = {
            queries[0]: _attentions(dimensions, layer),
            layer.intermediate.modules("writes")[0]: set(layer.intermediate.axes),
            output: set(dimensions.hidden.axes),
        }
        expected |= {
            group.modules("writes")[0]: set(group.axes)
            for group in dimensions.others
            if group.name == "head"
        }
        for root, axes in expected.items():
            found = {
                (names[dependency.target.module], dependency.handler)
                for dependency, _ in graph.get_pruning_group(modules[root], prune, idxs=[0])
                if dependency.target.module in names
            }
            traced = {
                (name, parameter, dim)
                for name, handler in found
                for parameter, dim in _places(modules[name], graph, handler)
            }
            labelled = {(axis.module, axis.parameter, axis.dim) for axis in axes}
            apart = {place for place in traced ^ labelled if not place[0].endswith(untraced)}
            if apart:
                tensors = {f"{name}.{parameter}" for name, parameter, _ in apart}
                raise AdjustError(
                    f"Labels and trace of this {model.config.model_type} model disagree about what"
                    f" depends on {root}: {some(tensors)}.",
                    REPORT,
                )


def _attentions(dimensions: Dimensions, layer: LayerGroups) -> set[Axis]:
    """Return what a layer's heads tie: where one tensor serves all heads, those of all layers."""
    heads = [group for group in dimensions.others if group.name == "heads"]
    layers = dimensions.layers if heads else (layer,)
    tied = [*heads, *(group for each in layers for group in (each.query_key, each.value))]
    return {axis for group in tied for axis in group.axes}


def _dependency_graph(model: PreTrainedModel) -> tuple[Any, Any]:
    """Trace the model; return torch-pruning's graph and the function that roots a group."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what it cannot prune, which we compare anyway
        import torch_pruning

        tokens = torch.full((1, 8), width(model.config, "vocab_size") - 1)
        graph = torch_pruning.DependencyGraph().build_dependency(
            model,
            example_inputs={"input_ids": tokens},
            output_transform=lambda output: (output.start_logits + output.end_logits).sum(),
            verbose=False,
        )
    return graph, torch_pruning.prune_linear_out_channels


def _places(module: Any, graph: Any, handler: Any) -> list[tuple[str, int]]:
    """Return the (parameter, dimension) pairs that a pruning function of torch-pruning shortens."""
    import torch

    writes = graph.is_out_channel_pruning_fn(handler)
    if isinstance(module, torch.nn.Linear):
        has_bias = writes and module.bias is not None
        return [("weight", 0 if writes else 1)] + ([("bias", 0)] if has_bias else [])
    if isinstance(module, torch.nn.Embedding):
        return [("weight", 1)]
    return [(name, 0) for name, _ in module.named_parameters(recurse=False)]
