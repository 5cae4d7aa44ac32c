"""A file of questions answered by a pool of actors on Ray Data: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from qa_lib.config import Settings
from qa_lib.errors import ConfigError, DataError, UserError
from qa_lib.evaluation import device_of, num_gpus_of, pool_size
from qa_lib.machines.allocation import MODEL_ACTOR_CPUS
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs import storage
from qa_lib.runs.progress import Progress
from qa_lib.serving.answerer import Answerer, check_answers
from qa_lib.serving.prompt import call_options

# Enough that windows of similar length meet in a batch, few enough that progress is seen.
_QUESTIONS_PER_TASK = 256
_ERROR = "error"


def answer_file(settings: Settings) -> dict[str, Any]:
    """Answer every line of `answer.input`; write the lines, with predictions, to `answer.output`.

    A line is a JSON object with `question` and `context`; it comes out as it was, in the same
    order, with `prediction`: what `Answerer` returns. The output appears when it is complete.

    Returns:
        `num_questions`, `seconds` and `questions_per_s` (from the first model's start), `output`.

    Raises:
        DataError: A line is no such object, named by its number before anything starts.
        ConfigError: The output exists, or the settings do not fit the machine or cluster.
        ModelError: The model cannot be had, or was never trained to answer.
    """
    import ray

    answer = settings.answer
    assert answer.input is not None and answer.output is not None, "a rule between the settings"
    _refuse_existing(answer.output, settings.overwrite)
    lines = _read(answer.input)
    check_answers(settings.model.name)
    options = call_options(settings)
    start_ray()
    device = device_of(settings)
    num_actors, num_threads = pool_size(settings, device)
    tasks = ray.data.from_arrow(_tasks(lines))
    tasks.context.execution_options.preserve_order = True
    model_options = {
        "model": settings.model.name,
        "device": device,
        "precision": settings.train.precision,
        "num_threads": num_threads,
        **settings.model.model_dump(include={"placement", "max_memory"}),
    }
    found = tasks.map_batches(
        _Actor,
        fn_constructor_args=[model_options, options],
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=num_actors),
        num_cpus=MODEL_ACTOR_CPUS,
        num_gpus=num_gpus_of(settings, device),
    )
    started = time.monotonic()
    done = 0
    with (
        Progress(len(lines), "questions", "answering") as progress,
        _whole_file(answer.output) as write,
    ):
        part: pa.Table
        for part in found.iter_batches(batch_size=None, batch_format="pyarrow"):
            if _ERROR in part.column_names:
                raise pickle.loads(part[_ERROR][0].as_py())
            for number, prediction in zip(
                part["number"].to_pylist(), part["prediction"].to_pylist(), strict=True
            ):
                assert number == done, f"line {number} came back where {done} was due"
                row = lines[number] | {"prediction": json.loads(prediction)}
                write(json.dumps(row, ensure_ascii=False) + "\n")
                done += 1
            progress.update(done, questions_per_s=done / (time.monotonic() - started))
        assert done == len(lines), f"{done} of {len(lines)} lines came back"
    seconds = time.monotonic() - started
    return {
        "num_questions": done,
        "seconds": round(seconds, 2),
        "questions_per_s": round(done / seconds, 2),
        "output": answer.output,
    }


def _read(path: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON lines file, each checked."""
    try:
        text = storage.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The questions {path} cannot be read: {storage.first_line(error)}",
            "Give --answer.input the path or URL of a UTF-8 file of JSON lines.",
        ) from None
    # Not splitlines: JSON strings may hold other line separators than \n.
    rows = [
        _row(line, f"{path} line {number}")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if not rows:
        raise DataError(f"{path} holds no question.", _FORM)
    return rows


_FORM = 'Give one JSON object per line, such as {"question": "Who?", "context": "Ann did."}'


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        raise DataError(f"{where} is not JSON.", _FORM) from None
    for name in ("question", "context"):
        text = row.get(name) if isinstance(row, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where} has no {name}.", _FORM)
    return row


def _tasks(lines: list[dict[str, Any]]) -> list[pa.Table]:
    table = pa.table(
        {
            "number": np.arange(len(lines)),
            "question": [line["question"] for line in lines],
            "context": [line["context"] for line in lines],
        }
    )
    return [
        table.slice(first, _QUESTIONS_PER_TASK)
        for first in range(0, len(lines), _QUESTIONS_PER_TASK)
    ]


class _Actor:
    """An actor of Ray Data: questions in, predictions as JSON out.

    What the user can mend goes to the driver as a row: Ray Data forgets the class of what an actor
    raises, and starts one that could not load its model again and again.
    """

    def __init__(self, model_options: dict[str, Any], options: dict[str, Any]) -> None:
        self._options = options
        self._error: UserError | None = None
        try:
            self._answerer = Answerer(**model_options)
        except UserError as error:
            self._error = error

    def __call__(self, batch: pa.Table) -> pa.Table:
        try:
            if self._error is not None:
                raise self._error
            texts = (batch[name].to_pylist() for name in ("question", "context"))
            found = [json.dumps(each) for each in self._answerer(*texts, **self._options)]
        except UserError as error:
            return pa.table({_ERROR: [pickle.dumps(error)]})
        return pa.table({"number": batch["number"], "prediction": found})


def _refuse_existing(output: str, overwrite: bool) -> None:
    from pyarrow.fs import FileType

    filesystem, path = storage.resolve(output)
    try:
        exists = filesystem.get_file_info(path).type != FileType.NotFound
    except OSError as error:
        raise ConfigError(
            f"The output {output} cannot be used: {storage.first_line(error)}",
            "Give --answer.output a path or URL that this user may write.",
        ) from None
    if exists and not overwrite:
        raise ConfigError(
            f"The output {output} exists.", "Give another --answer.output, or --overwrite."
        )


@contextmanager
def _whole_file(output: str) -> Iterator[Any]:
    """Lend a function that writes text to a file which appears when the block has succeeded."""
    filesystem, path = storage.resolve(output)
    part = f"{path}.part"
    filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    try:
        with filesystem.open_output_stream(part) as stream:
            yield lambda text: stream.write(text.encode("utf-8"))
    except BaseException:
        filesystem.delete_file(part)
        raise
    filesystem.move(part, path)
