"""What training would do, without Ray: the checks before a start, and the dry run's figures."""

from __future__ import annotations

import os
import sys
from typing import Any

import pyarrow as pa

from qa_lib import models, windows
from qa_lib.config import Settings
from qa_lib.data import Questions, load_held_out, splits_of
from qa_lib.machines import devices, memory
from qa_lib.machines.allocation import allocate, growth
from qa_lib.models import attention
from qa_lib.models.kernels import Kernels, Workload, choose
from qa_lib.training import correspondence, dataset, rehearsal, teacher, teacher_only
from qa_lib.training.batch_plan import BatchPlan, plan_of
from qa_lib.training.micro_batch import activation_bytes, micro_batch_of, unmeasured_micro_batch


def check(settings: Settings, match: correspondence.Correspondence | None = None) -> None:
    """Check, before Ray starts, that machine and model can do what the settings ask for.

    Args:
        settings: Of a training.
        match: Where the teacher has the student's states, of a student that was cut from it.

    Raises:
        ResourceError: Too few CPUs or GPUs, or too little memory.
        ConfigError: The device does not support the precision.
        ModelError: Windows are longer than the model's positions, or the teacher has no head.
        TrainError: There is no teacher for what it should teach.
    """
    train, cluster = settings.train, growth(settings)
    allocate(train, cluster)
    check_models(settings)
    attention.check(models.load_config(settings.model.name), train.attention)
    correspondence.check(train, match)
    teacher_only.check(train)
    if not models.has_answering_head(settings.model.name):
        print(
            f"note: {settings.model.name} has no question-answering head: a new one is drawn from"
            f" --seed {settings.seed}.",
            file=sys.stderr,
        )
    num_parameters = models.num_stored_parameters(settings.model.name)
    if cluster.gpu != "none" and train.device != "cpu":
        precision = devices.resolve_precision(train.precision, "cuda", cluster.gpu)
        states = memory.memory_per_rank(num_parameters, train, precision, train.min_workers)
        memory.check_gpu_memory(cluster.gpu, states, offload=train.offload_optimizer)
    elif not os.environ.get("RAY_ADDRESS"):
        for size in (train.min_workers, train.max_workers):
            states = memory.memory_per_rank(num_parameters, train, train.precision, size)
            held = sum(states.values()) + correspondence.teacher_bytes(train)
            memory.check_memory(size, held)


def _kernels(settings: Settings, device: str, config: Any, plan: BatchPlan) -> Kernels:
    """Choose kernels as a rank will; of a GPU that is elsewhere, only the precision is known."""
    train, gpu = settings.train, settings.cluster.gpu
    if device == "cuda":
        return Kernels(devices.resolve_precision(train.precision, device, gpu))
    devices.set_up_cpu(max(1, devices.num_local_cpus() // train.max_workers))
    micro_batch = unmeasured_micro_batch(settings)
    workload = Workload(micro_batch, int(plan.lengths.mean()), trains=True)
    if train.dropout is not None:
        models.set_dropout(config, train.dropout)
    return choose(
        config, workload, device=device, precision=train.precision, kernel=train.attention
    )


def check_sources(settings: Settings) -> dict[str, Any]:
    """Look for models and questions before anything takes time, and read those needed last.

    Of models, whether they are there, without transformers, whose import takes seconds; of the
    questions that the teacher alone teaches, whether they are there. The evaluation questions are
    read.

    Returns:
        Counts of the evaluation questions, for the dry run.

    Raises:
        DataError: The evaluation questions cannot be read, or too many are faulty.
        ModelError: There is no such model or teacher.
    """
    for name in filter(None, (settings.model.name, settings.train.teacher)):
        models.resolve(name)
    more = settings.train.teacher_only_source
    if more is not None:
        splits_of(settings.data.model_copy(update={"source": more}))
    held_out = load_held_out(settings.data)
    if held_out is None:
        return {"num_eval_questions": 0}
    return {
        "num_eval_questions": len(held_out),
        "num_eval_quarantined": held_out.num_quarantined,
        "eval_notes": dict(held_out.notes),
    }


def check_models(settings: Settings) -> None:
    """Check that model and teacher can be loaded and take the windows.

    Raises:
        ConfigError: Windows are longer than a model's positions.
        ModelError: A model cannot be loaded, the teacher has no head, or vocabularies differ.
    """
    for name in filter(None, (settings.model.name, settings.train.teacher)):
        models.load_config(name)
        models.check_length(name, settings.data.max_length)
    if settings.train.teacher:
        models.check_answers(settings.train.teacher)
        teacher.check(settings.train.teacher, settings.model.name)


def describe(settings: Settings, questions: Questions) -> dict[str, Any]:
    """Return what `fine_tune` would do: counts, steps, bytes per rank, seconds.

    The seconds are those of some steps that are taken here (CPU), or floating-point operations over
    the GPU's published peak at a usual utilisation.

    Raises:
        DataError: No question fits a window.
    """
    check(settings)
    train = settings.train
    allocation = allocate(train, growth(settings))
    tokenizer = models.load_tokenizer(settings.model.name)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    table, counts = _cut(settings, questions, tokenizer, spec)
    plan = plan_of(settings, windows.lengths(table))
    model = models.load_empty(settings.model.name)
    num_parameters = models.num_parameters(model)
    kernels = _kernels(settings, allocation.device, model.config, plan)
    precision = kernels.precision
    longest = int(plan.lengths.max())
    if allocation.device == "cpu":
        micro_batch = unmeasured_micro_batch(settings)
        seconds = rehearsal.rehearse(settings, table, plan, kernels, micro_batch)
    else:
        seconds = _seconds_by_flops(models.num_matrix_parameters(model), plan, precision, settings)
    is_measured = train.micro_batch == "auto" and allocation.device == "cuda"
    bytes_per_window = activation_bytes(
        model.config, longest, checkpointing=train.gradient_checkpointing
    )
    return {
        **counts,
        **windows.count_unreachable(
            questions.table, tokenizer, spec, settings.evaluate.max_answer_length
        ),
        "mean_window_tokens": round(float(plan.lengths.mean()), 1),
        "steps": plan.num_steps,
        "num_parameters": num_parameters,
        "world_size": train.max_workers,
        "micro_batch": "tried on the GPU at the start"
        if is_measured
        else micro_batch_of(settings, allocation, longest),
        "precision": precision,
        "device": allocation.device,
        "cpus_per_worker": allocation.cpus_per_worker,
        "state_bytes_per_rank": memory.memory_per_rank(
            num_parameters, train, precision, train.min_workers
        ),
        "activation_bytes_per_window": bytes_per_window // (1 if precision == "fp32" else 2),
        "estimated_train_seconds": round(seconds),
    }


def _cut(
    settings: Settings, questions: Questions, tokenizer: Any, spec: windows.WindowSpec
) -> tuple[pa.Table, dict[str, Any]]:
    """Cut all questions into windows, those for the teacher alone last; count both."""
    cut = windows.build(questions.table, tokenizer, spec, characters=False)
    if not cut.table.num_rows:
        raise dataset.no_room(spec)
    table, more = cut.table, {}
    if (unlabelled := teacher_only.load(settings, questions)) is not None:
        added = windows.build(unlabelled.questions.table, tokenizer, spec, characters=False)
        table = pa.concat_tables([table, added.table])
        more = teacher_only.counts(unlabelled, added.table.num_rows, len(added.too_long))
    return table, {
        "num_train_questions": len(questions) - len(cut.too_long),
        "num_train_windows": table.num_rows,
        "num_too_long": len(cut.too_long),
        "num_quarantined": questions.num_quarantined,
        "train_notes": dict(questions.notes),
        **more,
    }


def _seconds_by_flops(
    num_matrix_parameters: int, plan: BatchPlan, precision: str, settings: Settings
) -> float:
    num_tokens = sum(int(plan.lengths[plan.batch(step)].sum()) for step in range(plan.num_steps))
    speed = devices.flops_per_second("cuda", precision, settings.cluster.gpu)
    return 6 * num_matrix_parameters * num_tokens / (settings.train.max_workers * speed)
