"""A plan can be replayed to the byte on its parent, and on nothing else."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from qa_lib import adjust, models
from qa_lib.adjust import Plan, Sizes
from qa_lib.errors import AdjustError
from qa_lib.runs.folder import Folder
from qa_lib.runs.run_folder import PLAN, PLAN_TENSORS
from tests.support.adjust_models import CONFIGS, fitting, plan_of, tiny, windows

SIZES = Sizes((0, 2), 24, 4, 10)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(tiny("bert"), SIZES, [windows()])


def replaced(plan: Plan, **keep: Any) -> Plan:
    values = json.loads(plan.to_json())
    values["keep"] |= keep
    assert plan.fold.tensors is not None
    return Plan.from_json(json.dumps(values), tensors=plan.fold.tensors.content)


@pytest.mark.parametrize("family", CONFIGS)
def test_replaying_a_plan_gives_the_same_bytes(family: str, tmp_path: Path):
    parent, tokenizer = tiny(family), models.load_tokenizer("embedded")
    sizes = fitting(family, SIZES)
    plan = plan_of(parent, sizes, [windows()])
    folder = Folder(str(tmp_path / "plan"))
    plan.write(folder)
    replayed = Plan.read(folder)
    for name, each in (("first", plan), ("second", replayed)):
        models.save(adjust.apply(parent, each), tokenizer, tmp_path / name)
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
        for name in ("first", "second")
    )
    assert first == second
    assert replayed.to_json() == plan.to_json()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_refused(dtype: torch.dtype):
    with pytest.raises(AdjustError, match=str(dtype)):
        plan_of(copy.deepcopy(tiny("bert")).to(dtype), SIZES, [windows()])


def test_the_plan_states_what_was_kept_and_why(plan: Plan):
    assert plan.keep.layers == (0, 2)
    assert plan.keep.sizes == SIZES
    scores = torch.tensor(plan.scores["1.intermediate"])
    best = scores.argsort(descending=True)[:10].sort().values
    assert plan.keep.intermediate[1] == tuple(best.tolist())
    assert plan.groups["1.value"].width == 32
    assert plan.groups["1.value"].kept == 24
    assert plan.groups["0.intermediate"].dimensions == (
        "bert.encoder.layer.0.intermediate.dense.weight[0]",
        "bert.encoder.layer.0.intermediate.dense.bias[0]",
        "bert.encoder.layer.0.output.dense.weight[1]",
    )
    folded = {name.rsplit(".", 1)[0] for name in plan.fold.refitted} | set(plan.fold.norms)
    scaled = {name for name in plan.changed if "query" in name}
    assert {name.rsplit(".", 1)[0] for name in plan.changed} - folded <= {
        name.rsplit(".", 1)[0] for name in scaled
    }


def test_a_plan_of_another_checkpoint_is_refused(plan: Plan):
    with pytest.raises(AdjustError, match="another checkpoint") as refusal:
        plan.check_parent("b" * 64, "runs/other")
    assert "--adjust.hidden-size 24" in refusal.value.remedy
    plan.check_parent("a" * 64, "runs/parent")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "keep": {"layers": []}}'])
def test_what_is_no_plan_is_refused(text: str):
    with pytest.raises(AdjustError, match=r"mine\.json is no pruning plan"):
        Plan.from_json(text, "mine.json")


def test_a_plan_of_another_version_is_refused(plan: Plan):
    with pytest.raises(AdjustError, match="version 2"):
        Plan.from_json(plan.to_json().replace('"version": 1', '"version": 2'))


@pytest.mark.parametrize(
    "keep",
    [
        {"layers": [0, 3]},
        {"layers": [0]},
        {"hidden": list(range(9, 33))},
        {"hidden": list(range(23))},
        {"heads": [[0, 1, 2, 3], [0, 1, 2]]},
        {"intermediate": [list(range(10)), list(range(9, -1, -1))]},
        {"intermediate": [list(range(10)), list(range(9))]},
        {"intermediate": [[], []]},
        {"heads": [[], []]},
    ],
    ids=str,
)
def test_a_plan_that_does_not_fit_is_refused_before_the_cut(plan: Plan, keep: dict[str, Any]):
    with pytest.raises(AdjustError, match=r"does not fit|keeps layers"):
        adjust.apply(tiny("bert"), replaced(plan, **keep))


def test_a_plan_that_hides_what_it_changes_is_refused(plan: Plan):
    hidden = plan.model_copy(update={"changed": {}})
    with pytest.raises(AdjustError, match="changed tensors"):
        adjust.apply(tiny("bert"), hidden)


def test_refitted_weights_stand_beside_the_plan_and_no_others_are_taken(plan: Plan, tmp_path: Path):
    folder, parent = Folder(str(tmp_path)), tiny("bert")
    plan.write(folder)
    other = plan_of(parent, SIZES, [windows(seed=1)])
    assert other.fold.tensors is not None and other.fold.tensors.content is not None
    folder.write_bytes(PLAN_TENSORS, other.fold.tensors.content)
    with pytest.raises(AdjustError, match=r"does not hold the weights that the plan names"):
        Plan.read(folder)
    folder.remove(PLAN_TENSORS)
    alone = Plan.read(folder)
    assert alone == plan
    with pytest.raises(AdjustError, match=r"no plan\.safetensors was read"):
        adjust.apply(parent, alone)
    assert PLAN in {entry.base_name for entry in folder.entries()}


def test_a_plan_from_before_there_were_refits_is_replayed():
    parent = tiny("bert")
    plan = plan_of(parent, SIZES, [windows()], refit=False)
    values = json.loads(plan.to_json())
    del values["fold"]["tensors"], values["fold"]["residual"]
    assert Plan.from_json(json.dumps(values)) == plan
    assert plan.fold.tensors is None and plan.fold.held
