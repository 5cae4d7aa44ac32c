"""From settings to a cut model: the plan is made or read, the cut proved, and only then written."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from qa_lib import adjust, models, windows
from qa_lib.config import Settings
from qa_lib.data import load_questions
from qa_lib.errors import AdjustError
from qa_lib.runs import storage
from qa_lib.runs.progress import QUIET_S, tracked
from qa_lib.runs.run_folder import PLAN, RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from qa_lib.adjust.calibrate import Batch
    from qa_lib.adjust.plan import Indices


def describe(settings: Settings) -> str:
    """Return the table of what would become of the model's dimensions, groups and costs.

    Raises:
        AdjustError: The model cannot be adjusted so.
    """
    parent = models.load(settings.model.name, seed=settings.seed)
    dimensions = adjust.trace(parent)
    replayed = _read_plan(settings)
    if replayed:
        sizes = replayed.keep.sizes
    else:
        kept = _vocabulary(settings, parent, _corpus(settings))
        sizes = _sizes(settings, parent, _LazyWindows(settings), kept)
    return adjust.table(parent.config, dimensions, sizes)


def cut(
    settings: Settings, run: RunFolder, parent: PreTrainedModel, folder: str
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Make or read the plan, show the table, cut, prove, and only then write."""
    dimensions = adjust.trace(parent)
    if not models.has_answering_head(settings.model.name):
        print(
            f"note: {settings.model.name} has no question-answering head: units are scored against"
            " a random one, and it will not teach. Fine-tune it first (`make train`).",
            file=sys.stderr,
        )
    parent_sha256 = models.fingerprint(settings.model.name)
    plan = _read_plan(settings, run)
    if plan is None:
        batches = _LazyWindows(settings, run)
        texts = _corpus(settings, run)
        kept = _vocabulary(settings, parent, texts)
        sizes = _sizes(settings, parent, batches, kept)
        print(adjust.table(parent.config, dimensions, sizes), flush=True)
        plan = adjust.make_plan(
            parent,
            sizes,
            batches,
            parent_sha256=parent_sha256,
            vocabulary=kept,
            method=settings.adjust.importance,
            folds=settings.adjust.fold,
            round_to=settings.adjust.round_to,
            seed=settings.seed,
        )
        if plan.keep.ragged:
            print(f"the layers' shares: {_shares(plan.keep.sizes)}", flush=True)
    else:
        texts = None
        plan.check_parent(parent_sha256, settings.model.name)
        print(adjust.table(parent.config, dimensions, plan.keep.sizes), flush=True)
    child = adjust.apply(parent, plan)
    proof = adjust.prove(parent, child, plan)
    tokenizer, vocabulary = _shorten(settings, plan, texts)
    write_model(run, child, tokenizer, folder)
    run.write_text(PLAN, plan.to_json())
    return child, {
        "parent": settings.model.name,
        "parent_sha256": plan.parent_sha256,
        **sizes_of(plan),
        "vocabulary_size": child.config.vocab_size,
        "proof": vars(proof) | vocabulary,
    }


def sizes_of(plan: adjust.Plan) -> dict[str, Any]:
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


def write_model(run: RunFolder, child: PreTrainedModel, tokenizer: Any, folder: str) -> None:
    """Write a checkpoint into a folder of the run, wherever that is."""
    with tempfile.TemporaryDirectory() as local:
        models.save(child, tokenizer, local)
        run.put_folder(local, folder)


def _corpus(settings: Settings, run: RunFolder | None = None) -> pa.StringArray | None:
    """Return the texts whose tokens stay, each once, where the settings ask for a vocabulary."""
    if settings.adjust.vocabulary is None:
        return None
    questions = load_questions(settings.data, "train", quarantine_dir=run.path if run else None)
    columns = [questions.table[name].unique() for name in ("question", "context")]
    return pa.concat_arrays([column.cast(pa.string()) for column in columns])


def _vocabulary(
    settings: Settings, parent: PreTrainedModel, texts: pa.StringArray | None
) -> Indices | None:
    """Return the tokens to keep, or None for all."""
    if texts is None:
        return None
    tokenizer = models.load_tokenizer(settings.model.name)
    return adjust.vocabulary.used(tokenizer, texts, parent.config)


def _shorten(
    settings: Settings, plan: adjust.Plan, texts: pa.StringArray | None
) -> tuple[PreTrainedTokenizerFast, dict[str, int]]:
    """Return the tokenizer of the adjusted model, and what was proved of it.

    A replayed plan has no corpus at hand, on which it was proved when it was made.
    """
    tokenizer, kept = models.load_tokenizer(settings.model.name), plan.keep.vocabulary
    if kept is None:
        return tokenizer, {}
    short = adjust.vocabulary.shorten(tokenizer, kept)
    if texts is None:
        return short, {}
    return short, {"num_tokens": adjust.vocabulary.check(tokenizer, short, kept, texts)}


def _shares(sizes: adjust.Sizes) -> str:
    found = [sizes.of_layer(place) for place in range(len(sizes.layers))]
    heads, widths = (" ".join(map(str, each)) for each in zip(*found, strict=True))
    return f"heads {heads}; intermediate size {widths}"


class _LazyWindows(Sequence["Batch"]):
    """Calibration windows that are drawn when the first one is needed.

    Replaying a plan, or sizes that are given, need no questions at all.
    """

    def __init__(self, settings: Settings, run: RunFolder | None = None) -> None:
        self._settings, self._run = settings, run
        self._drawn: list[Batch] | None = None

    def _batches(self) -> list[Batch]:
        if self._drawn is None:
            settings = self._settings
            questions = load_questions(
                settings.data, "train", quarantine_dir=self._run.path if self._run else None
            )
            self._drawn = adjust.draw_windows(
                questions.table,
                models.load_tokenizer(settings.model.name),
                windows.WindowSpec(settings.data.max_length, settings.data.stride),
                num_windows=settings.adjust.calibration_windows,
                seed=settings.seed,
            )
        return self._drawn

    def __getitem__(self, index: Any) -> Any:
        return self._batches()[index]

    def __iter__(self) -> Iterator[Batch]:
        return tracked(self._batches(), "batches", "calibrating", quiet_s=QUIET_S)

    def __len__(self) -> int:
        return len(self._batches())


def _sizes(
    settings: Settings, parent: PreTrainedModel, batches: Sequence[Batch], kept: Indices | None
) -> adjust.Sizes:
    wish = settings.adjust
    count = None if kept is None else len(kept)
    if wish.target_speedup is not None or wish.target_parameters is not None:
        return adjust.find(parent, wish, batches, vocabulary_size=count, seed=settings.seed)
    sizes = replace(adjust.resolve(parent.config, wish), vocabulary_size=count)
    whole = adjust.Sizes.of(parent.config)
    if sizes in (whole, adjust.even(whole, whole.num_heads)):
        raise AdjustError(
            "Nothing is to be adjusted: every size is the model's own.",
            "Pass a size, for example --adjust.intermediate-size"
            f" {sizes.intermediate_size // 2}, or --adjust.target-speedup 2.0.",
        )
    return sizes


def _read_plan(settings: Settings, run: RunFolder | None = None) -> adjust.Plan | None:
    """Return the plan that the settings name, or that a resumed run has already made."""
    if run is not None and run.resumed and run.exists(PLAN):
        return adjust.Plan.from_json(run.read_text(PLAN), run.url(PLAN))
    name = settings.adjust.plan
    if name is None:
        return None
    try:
        text = storage.read_text(name)
    except (OSError, UnicodeDecodeError) as error:
        raise AdjustError(
            f"The plan {name} cannot be read: {storage.first_line(error)}.",
            f"Pass the {PLAN} of a run of `make adjust`.",
        ) from None
    return adjust.Plan.from_json(text, name)
