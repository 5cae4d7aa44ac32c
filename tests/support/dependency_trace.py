"""A second source for coupled dimensions: torch-pruning's trace of the autograd graph."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from transformers import PreTrainedModel

from qa_lib.adjust.groups import Groups

# Ends of the names of modules that the trace does not see: DeBERTa's relative positions.
UNTRACED = (
    "encoder.rel_embeddings",
    "encoder.LayerNorm",
    "attention.self.pos_query_proj",
    "attention.self.pos_key_proj",
)
Place = tuple[str, str, int]  # module, parameter, dimension


def differences(model: PreTrainedModel, groups: Groups) -> dict[str, set[Place]]:
    """Return the places in which groups and trace differ, by the module that the trace starts at.

    The trace sees an attention as one group: queries, keys and values meet in it.
    """
    trace = _Trace(model)
    found = {}
    for root, labelled in _expected(groups).items():
        apart = {place for place in trace.from_outputs_of(root) ^ labelled if _is_traced(place)}
        if apart:
            found[root] = apart
    return found


def _is_traced(place: Place) -> bool:
    return not place[0].endswith(UNTRACED)


def _expected(groups: Groups) -> dict[str, set[Place]]:
    """Return the places of each group, by a module that writes it.

    The classifier will not do: it writes the logits.
    """
    heads = [group for group in groups.others if group.name == "heads"]
    by_root = {
        group.modules("writes")[0]: [group] for group in groups.others if group.name == "head"
    }
    for layer, queries in zip(groups.layers, groups.queries, strict=True):
        # One tensor for the heads of all layers ties all attentions.
        tied = groups.layers if heads else (layer,)
        by_root |= {
            queries[0]: [*heads, *(g for each in tied for g in (each.query_key, each.value))],
            layer.intermediate.modules("writes")[0]: [layer.intermediate],
            layer.value.modules("reads")[0]: [groups.hidden],
        }
    return {
        root: {(axis.module, axis.parameter, axis.dim) for group in coupled for axis in group.axes}
        for root, coupled in by_root.items()
    }


class _Trace:
    def __init__(self, model: PreTrainedModel) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it cannot prune
            import torch_pruning

            tokens = torch.full((1, 8), model.config.vocab_size - 1)
            self._graph = torch_pruning.DependencyGraph().build_dependency(
                model,
                example_inputs={"input_ids": tokens},
                output_transform=lambda output: (output.start_logits + output.end_logits).sum(),
                verbose=False,
            )
        self._prune = torch_pruning.prune_linear_out_channels
        self._modules = dict(model.named_modules())
        self._names = {module: name for name, module in self._modules.items()}

    def from_outputs_of(self, root: str) -> set[Place]:
        """Return all places that shrink with the outputs of a linear map."""
        group = self._graph.get_pruning_group(self._modules[root], self._prune, idxs=[0])
        return {
            (self._names[dependency.target.module], parameter, dim)
            for dependency, _ in group
            if dependency.target.module in self._names
            for parameter, dim in self._cut_by(dependency.target.module, dependency.handler)
        }

    def _cut_by(self, module: Any, handler: Any) -> list[tuple[str, int]]:
        """Return the (parameter, dimension) pairs that a pruning function shortens."""
        writes = self._graph.is_out_channel_pruning_fn(handler)
        if isinstance(module, torch.nn.Linear):
            has_bias = writes and module.bias is not None
            return [("weight", 0 if writes else 1)] + ([("bias", 0)] if has_bias else [])
        if isinstance(module, torch.nn.Embedding):
            return [("weight", 1)]
        return [(name, 0) for name, _ in module.named_parameters(recurse=False)]
