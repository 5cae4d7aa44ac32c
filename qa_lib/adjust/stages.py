"""Staged recovery: a model is cut part of the way and recovered, before it is cut again.

Every stage but the last is a folder `stages/N/` of the run, with a plan, the cut model, checkpoints
and the recovered model; the run itself is the last stage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from qa_lib import models
from qa_lib.adjust.from_settings import resolve
from qa_lib.adjust.prune import obtain_plan, write_pruned
from qa_lib.adjust.recovery import ADJUSTED, match_of, recover
from qa_lib.adjust.sizes import Sizes, is_expressible
from qa_lib.adjust.steps import between
from qa_lib.config import AdjustSettings, Settings
from qa_lib.data import Questions
from qa_lib.errors import CheckpointError
from qa_lib.runs.result import Adjusted
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training.correspondence import Correspondence


def recover_stages(
    settings: Settings, run: RunFolder, questions: Questions
) -> tuple[Settings, Correspondence | None]:
    """Cut and recover the stages before the last; those that are done are not done again.

    Args:
        settings: Of the run: `model.name` is the parent, which teaches every stage.
        run: Receives `stages/N/`, and in result.json `stages`.
        questions: To train on.

    Raises:
        CheckpointError: A stage that is done was trained on others.

    Returns:
        The settings of the last stage; and where the states of its model are in the parent, if the
        settings teach inside.
    """
    after: dict[str, Any] = {}
    if settings.train.teacher is None:
        if models.has_answering_head(settings.model.name):
            train = settings.train.model_copy(update={"teacher": settings.model.name})
            settings = settings.model_copy(update={"train": train})
        else:  # the labels alone teach: no stage is a teacher of the next
            after = {"distill_weight": 0.0}
    config, match = models.load_config(settings.model.name), None
    facts: list[dict[str, Any]] = []
    for line in left_out(config, settings.adjust):
        print(line, file=sys.stderr)
    wishes = list(stages_before_the_last(config, settings.adjust))
    for number, wish in enumerate(wishes, 1):
        stage = run.inside(f"stages/{number}")
        own = settings.model_copy(update={"adjust": wish})
        if stage.read_result().get("status") == "done":
            _check_questions(stage, questions)
        else:
            print(f"stage {number} of {len(wishes) + 1}", flush=True)
            _run_stage(own, stage, questions, match)
        if settings.train.teaches_inside:
            match = match_of(own, stage, match)
        facts.append(_facts(stage.read_result(), facts))
        name = settings.model.model_copy(update={"name": stage.path})
        train = settings.train.model_copy(update=after)
        settings = settings.model_copy(update={"model": name, "train": train})
    run.write_result(Adjusted(stages=facts), status="running")
    return settings, match


def left_out(config: Any, wish: AdjustSettings) -> list[str]:
    """Return a note where there are fewer stages than asked for; arguments as of the stages."""
    if wish.stages == 1:
        return []
    count = 1 + sum(1 for _ in stages_before_the_last(config, wish))
    if count == wish.stages:
        return []
    return [
        f"note: --adjust.stages {wish.stages} becomes {count}: between the parent's layers and"
        " widths and those asked for there are too few that it can have."
    ]


def stages_before_the_last(config: Any, wish: AdjustSettings) -> Iterator[AdjustSettings]:
    """Yield the settings of each stage but the last: sizes in equal ratios.

    A stage whose sizes the family cannot have, or that are another's, is left out: see `left_out`.

    Args:
        config: The parent's configuration.
        wish: The sizes at the end, and the number of stages.
    """
    whole, target = Sizes.of(config), resolve(config, wish)
    depth, last_depth = len(whole.layers), len(target.layers)
    keeps_head_size = target.head_size == whole.head_size
    seen = {whole, target}
    for stage in range(1, wish.stages):
        share = stage / wish.stages
        num_layers = round(depth * (last_depth / depth) ** share)
        sizes = between(whole, target, share, wish.round_to)
        if not is_expressible(config, sizes):
            continue
        update = {
            "num_layers": num_layers,
            "intermediate_size": sizes.intermediate_size,
            "hidden_size": sizes.hidden_size,
            "num_heads": None if keeps_head_size else sizes.num_heads,
            "vocabulary": None,
        }
        part = wish.model_copy(update=update)
        sizes = resolve(config, part)
        if sizes not in seen:
            seen.add(sizes)
            yield part


def _run_stage(
    settings: Settings, stage: RunFolder, questions: Questions, first: Correspondence | None
) -> None:
    """Cut and recover one stage in its folder."""
    if not (stage.resumed and stage.exists("checkpoints")):
        parent = models.load(settings.model.name, seed=settings.seed)
        plan, texts = obtain_plan(settings, stage, parent)
        _, pruned = write_pruned(settings, stage, parent, plan, ADJUSTED, texts=texts)
        stage.write_result(pruned, status="running")
    stage.write_result(recover(settings, stage, questions, first=first))


def _check_questions(stage: RunFolder, questions: Questions) -> None:
    """Refuse to go on from a stage that was trained on other questions."""
    if stage.read_result().get("train_fingerprint") not in (None, questions.fingerprint):
        raise CheckpointError(
            f"{stage.path} was trained on other questions: what --data.source names has changed.",
            "Put back what was there when the run began, or start a new run.",
        )


def parents_layers(layers: list[int], earlier: list[dict[str, Any]]) -> list[int]:
    """Return the parent's layers of a model that was cut from the last of earlier stages."""
    return [earlier[-1]["kept_layers"][layer] for layer in layers] if earlier else layers


def _facts(result: dict[str, Any], earlier: list[dict[str, Any]]) -> dict[str, Any]:
    names = "hidden_size", "num_heads", "intermediate_size", "num_window_passes", "train_seconds"
    layers = parents_layers(result["kept_layers"], earlier)
    return {"kept_layers": layers, **{name: result[name] for name in names}}
