"""From settings to a pruned model: the plan is read or made, the parent cut, the cut proved."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from qa_lib import models, windows
from qa_lib.adjust import vocabulary
from qa_lib.adjust.calibrate import Batch, computing, draw_windows
from qa_lib.adjust.divergence import Reference, comparing
from qa_lib.adjust.extensions import declare_families, find_scorer
from qa_lib.adjust.from_settings import resolve
from qa_lib.adjust.layers import best_layers
from qa_lib.adjust.plan import Indices, Plan
from qa_lib.adjust.planning import make_plan
from qa_lib.adjust.proof import Proof, prove
from qa_lib.adjust.ragged_sizes import spread_evenly
from qa_lib.adjust.seams import Seams
from qa_lib.adjust.sizes import Sizes
from qa_lib.adjust.surgery import apply
from qa_lib.adjust.table import table
from qa_lib.adjust.targets import find_sizes
from qa_lib.config import AdjustSettings, Settings
from qa_lib.data import load_questions
from qa_lib.errors import AdjustError
from qa_lib.models.latency import latency_device
from qa_lib.runs import storage
from qa_lib.runs.folder import Folder
from qa_lib.runs.progress import QUIET_S, tracked
from qa_lib.runs.result import Adjusted
from qa_lib.runs.run_folder import PLAN, PLAN_TENSORS, RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def describe(settings: Settings) -> str:
    """Return the table of what would become of the model's dimensions, groups and costs.

    Raises:
        AdjustError: The model cannot be adjusted as the settings say.
    """
    declare_families(settings.adjust.families)
    parent = models.load(settings.model.name, seed=settings.seed)
    plan = _read_plan(settings)
    device = latency_device(settings.train)
    if plan is not None:
        name = settings.model.name
        plan.check_parent(models.fingerprint(name), name)
        return table(parent.config, plan.keep.sizes, device)
    kept, _ = _vocabulary(settings, parent)
    _check_importance(settings.adjust)
    batches = _CalibrationWindows(settings)
    sizes = _sizes(settings, parent, batches, kept, None)
    note = "\n\nWhich layers stay is decided when it runs." if _chooses(settings.adjust) else ""
    return table(parent.config, sizes, device) + note


def obtain_plan(
    settings: Settings, run: RunFolder, parent: PreTrainedModel
) -> tuple[Plan, pa.StringArray | None]:
    """Read the plan that the settings name or a resumed run has, or make one; print its table.

    Returns:
        The plan; and the texts that a shorter vocabulary must cover, unless the plan is replayed.

    Raises:
        AdjustError: The settings or the plan do not fit the parent.
    """
    name = settings.model.name
    parent_sha256 = models.fingerprint(name)
    plan = _read_plan(settings, run)
    if plan is not None:
        plan.check_parent(parent_sha256, name)
        print(table(parent.config, plan.keep.sizes, latency_device(settings.train)), flush=True)
        return plan, None
    _check_importance(settings.adjust)
    batches = _CalibrationWindows(settings, run)
    kept, texts = _vocabulary(settings, parent, run)
    plan = _make_plan(settings, parent, batches, kept, parent_sha256)
    if plan.keep.ragged:
        units = plan.keep.heads, plan.keep.intermediate
        heads, widths = (" ".join(str(len(kept)) for kept in layers) for layers in units)
        print(f"the layers' shares: heads {heads}; intermediate size {widths}", flush=True)
    return plan, texts


def _check_importance(adjust: AdjustSettings) -> None:
    """Find a user's scoring function before minutes of work."""
    if ":" in adjust.importance:
        find_scorer(adjust.importance)


def plan_of(settings: Settings, parent: PreTrainedModel) -> Plan:
    """Make the plan that the settings ask for, of a parent at hand.

    Raises:
        AdjustError: The settings do not fit the parent.
    """
    kept, _ = _vocabulary(settings, parent)
    return _make_plan(settings, parent, _CalibrationWindows(settings), kept)


def _make_plan(
    settings: Settings,
    parent: PreTrainedModel,
    batches: Iterable[Batch],
    kept: Indices | None,
    parent_sha256: str = "",
) -> Plan:
    """Make a plan; one with a fingerprint is of a run, which shows the table of its sizes first."""
    seams = Seams(parent, batches)
    sizes = _sizes(settings, parent, batches, kept, seams)
    if parent_sha256:
        print(table(parent.config, sizes, latency_device(settings.train)), flush=True)
    with computing(parent):
        return make_plan(
            parent,
            sizes,
            batches,
            settings.adjust,
            parent_sha256=parent_sha256,
            vocabulary=kept,
            seams=seams,
            seed=settings.seed,
        )


def prune(parent: PreTrainedModel, plan: Plan) -> tuple[PreTrainedModel, Proof]:
    """Cut a parent as a plan says, and prove the cut.

    Raises:
        AdjustError: The plan does not fit the parent, or the proof fails.
    """
    child = apply(parent, plan)
    return child, prove(parent, child, plan)


def write_pruned(
    settings: Settings,
    run: RunFolder,
    parent: PreTrainedModel,
    plan: Plan,
    folder: str,
    *,
    texts: pa.StringArray | None = None,
) -> tuple[PreTrainedModel, Adjusted]:
    """Prune a parent, prove it, and only then write the model and the plan into a run.

    Args:
        settings: `model.name` is the parent.
        run: Receives plan.json and the folder.
        parent: The plan's parent.
        plan: What stays.
        folder: Name of the model's folder in the run.
        texts: Must become the same tokens as before, where the vocabulary is shorter.

    Returns:
        The adjusted model; and its sizes and proof.

    Raises:
        AdjustError: As of `prune`; nothing is written then.
    """
    child, proof = prune(parent, plan)
    tokenizer, kept = models.load_tokenizer(settings.model.name), plan.keep.vocabulary
    shown = vars(proof)
    if kept is not None:
        whole, tokenizer = tokenizer, vocabulary.shorten(tokenizer, kept)
        if texts is not None:
            shown = shown | {"num_tokens": vocabulary.check(whole, tokenizer, kept, texts)}
    write_model(run, child, tokenizer, folder)
    plan.write(run)
    return child, Adjusted(**sizes_of(plan), proof=shown)


def sizes_of(plan: Plan) -> dict[str, Any]:
    """Return the sizes of a plan's model as fields for result.json.

    Where layers differ, `num_heads` and `intermediate_size` are means, and `blocks` has each
    layer's.
    """
    sizes = plan.keep.sizes
    num_heads, intermediate_size = sizes.means
    return {
        "kept_layers": list(sizes.layers),
        "hidden_size": sizes.hidden_size,
        "num_heads": num_heads,
        "intermediate_size": intermediate_size,
        **({} if sizes.blocks is None else {"blocks": asdict(sizes.blocks)}),
    }


def write_model(
    run: RunFolder, child: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: str
) -> None:
    """Write a checkpoint into a folder of the run, local or in a bucket."""
    with tempfile.TemporaryDirectory() as local:
        models.save(child, tokenizer, local)
        run.put_folder(local, folder)


class _CalibrationWindows:
    """Calibration windows, drawn from the training questions when the first is needed.

    Replaying a plan, or given sizes, need no questions at all.
    """

    def __init__(self, settings: Settings, run: RunFolder | None = None) -> None:
        self._settings, self._run = settings, run

    @cached_property
    def _batches(self) -> list[Batch]:
        settings = self._settings
        return draw_windows(
            _train_questions(settings, self._run),
            models.load_tokenizer(settings.model.name),
            windows.WindowSpec(settings.data.max_length, settings.data.stride),
            num_windows=settings.adjust.calibration_windows,
            seed=settings.seed,
        )

    def __iter__(self) -> Iterator[Batch]:
        return tracked(self._batches, "batches", "calibrating", quiet_s=QUIET_S)


def _train_questions(settings: Settings, run: RunFolder | None) -> pa.Table:
    quarantine_dir = None if run is None else run.path
    return load_questions(settings.data, "train", quarantine_dir=quarantine_dir).table


def _vocabulary(
    settings: Settings, parent: PreTrainedModel, run: RunFolder | None = None
) -> tuple[Indices | None, pa.StringArray | None]:
    """Return the tokens to keep and the distinct texts that use them; None for all tokens."""
    if settings.adjust.vocabulary is None:
        return None, None
    questions = _train_questions(settings, run)
    asked, read = (questions[name].unique().cast(pa.string()) for name in ("question", "context"))
    # As windows cut them: to a byte-level tokenizer the space around a question is tokens.
    texts = pa.concat_arrays([pc.utf8_trim_whitespace(asked).unique(), read])
    tokenizer = models.load_tokenizer(settings.model.name)
    return vocabulary.used(tokenizer, texts, parent.config), texts


def _sizes(
    settings: Settings,
    parent: PreTrainedModel,
    batches: Iterable[Batch],
    kept: Indices | None,
    seams: Seams | None,
) -> Sizes:
    """Return the sizes that the settings give, or that reach their target.

    Without `seams`, those of a preview, which layers stay is left open: the first ones stand for
    them.
    """
    wish = settings.adjust
    count = None if kept is None else len(kept)
    if wish.target_speedup is not None or wish.target_parameters is not None:
        return find_sizes(
            parent,
            wish,
            batches,
            vocabulary_size=count,
            seams=seams,
            seed=settings.seed,
            device=latency_device(settings.train),
        )
    sizes = replace(resolve(parent.config, wish), vocabulary_size=count)
    whole = Sizes.of(parent.config)
    if sizes in (whole, spread_evenly(whole, whole.num_heads)):
        raise AdjustError(
            "Nothing is to be adjusted: every size is the model's own.",
            "Pass a size, for example --adjust.intermediate-size"
            f" {sizes.intermediate_size // 2}, or --adjust.target-speedup 2.0.",
        )
    if seams is not None and len(sizes.layers) < len(whole.layers) and not seams.repairable:
        print(
            f"note: the layers of this {parent.config.model_type} model share their weights, so"
            " that no seam is repaired where passes are dropped: recover it (--adjust.recover).",
            file=sys.stderr,
        )
    if seams is None or not _chooses(wish):
        if seams is not None and _chooses(wish.model_copy(update=_NO_BLOCKS)):
            print(
                "note: blocks are dropped by their number, so that the first layers stay;"
                " --adjust.keep-layers names others.",
                file=sys.stderr,
            )
        return sizes
    repaired = seams if wish.repairs_seams else None
    with computing(parent):
        reference = Reference(parent, batches, kernels=comparing(parent), keeps_streams=True)
        layers = best_layers(
            parent, len(sizes.layers), batches, seams=repaired, reference=reference
        )
    return replace(sizes, layers=layers)


_NO_BLOCKS = {"drop_attention": None, "drop_feed_forward": None}


def _chooses(wish: AdjustSettings) -> bool:
    """Say whether layers go, and which ones is to be found out."""
    names_layers = (wish.keep_layers, wish.drop_attention, wish.drop_feed_forward)
    return wish.num_layers is not None and wish.layers == "best" and not any(names_layers)


def _read_plan(settings: Settings, run: RunFolder | None = None) -> Plan | None:
    """Return the plan that the settings name, or that a resumed run has already made."""
    if run is not None and run.resumed and run.exists(PLAN):
        return Plan.read(run)
    name = settings.adjust.plan
    if name is None:
        return None
    beside = f"{name.rpartition('/')[0] or '.'}/{PLAN_TENSORS}"
    try:
        text = storage.read_text(name)
        tensors = Folder(beside).read_bytes().to_pybytes() if Folder(beside).exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise AdjustError(
            f"The plan {name} cannot be read: {storage.first_line(error)}.",
            f"Pass the {PLAN} of a run of `make adjust`.",
        ) from None
    return Plan.from_json(text, name, tensors=tensors)
