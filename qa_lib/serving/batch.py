"""A file of questions answered by a pool of model actors: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import fs

from qa_lib import models
from qa_lib.config import DataSettings, Settings
from qa_lib.data import is_known, is_table, read_questions
from qa_lib.errors import ConfigError, DataError
from qa_lib.machines.actors import ActorPool
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs import json_text, storage
from qa_lib.runs.folder import Folder
from qa_lib.serving.prompt import call_options, load_answerer

# Enough that windows of similar length meet in a batch, few enough to see progress.
_QUESTIONS_PER_TASK = 256
_TEXTS = ("question", "context")
_ADDED = "prediction"


class _Asked(NamedTuple):
    """A question of a file: what messages call it, the object it came in, and its texts."""

    name: str
    line: dict[str, Any]
    question: str
    context: str


def answer_file(settings: Settings) -> dict[str, Any]:
    """Answer every line of `answer.input`; write the lines, with predictions, to `answer.output`.

    A line is a JSON object with `question` and `context`, or what `data.columns` names; it is
    written as it was, in the same order, with `prediction`: what `Answerer` returns. Of another
    table comes what `read_questions` returns. The output appears when it is complete.

    Returns:
        `num_questions`, `seconds` and `questions_per_s` (from the start of the actors), `output`.

    Raises:
        DataError: A line is not such an object, or has a `prediction`; its number is named before
            anything starts.
        ConfigError: The output exists or cannot be written, or the settings do not fit the machine
            or cluster.
        ModelError: The model is not available, or was never trained to answer.
    """
    answer = settings.answer
    assert answer.input is not None and answer.output is not None, "a rule between the settings"
    _refuse_existing(answer.output, settings.overwrite)
    asked = _read(answer.input, settings.data)
    models.check_answers(settings.model.name)
    options = call_options(settings)
    num_done = 0
    with _whole_file(answer.output) as write:  # first: all is in vain where it cannot be written
        start_ray()
        pool = ActorPool.of(settings)
        load = partial(_load_answerer, settings, pool.device, options)
        started = time.monotonic()
        for part in pool.run(load, _tasks(asked), title="answering", unit="questions"):
            some = asked[num_done : num_done + part.num_rows]
            for each, prediction in zip(some, part[_ADDED].to_pylist(), strict=True):
                row = each.line | {_ADDED: json.loads(prediction)}
                write(json.dumps(row, ensure_ascii=False) + "\n")
            num_done += part.num_rows
    seconds = time.monotonic() - started
    return {
        "num_questions": num_done,
        "seconds": round(seconds, 2),
        "questions_per_s": round(num_done / seconds, 2),
        "output": answer.output,
    }


def _load_answerer(
    settings: Settings, device: str, options: dict[str, Any], num_threads: int
) -> Callable[[pa.Table], pa.Table]:
    """Load the model in an actor; return what answers questions, each prediction as JSON."""
    answerer = load_answerer(settings, device, num_threads, measure=True)

    def answer(task: pa.Table) -> pa.Table:
        *texts, names = (task[name].to_pylist() for name in (*_TEXTS, "name"))
        answers = answerer(*texts, **options, names=names)
        return pa.table({_ADDED: [json.dumps(each) for each in answers]})

    return answer


def _read(path: str, data: DataSettings) -> list[_Asked]:
    """Return the objects of a JSON lines file, or the rows of another, each checked.

    The first line tells: documents on each line, as MRQA's, are a table like others.
    """
    lines = {} if is_table(path) else _lines(path)
    names = [data.column_names.get(what) or what for what in _TEXTS]
    # Of a file that may be anything, the error says what its first line lacks.
    if lines and (_is_row(next(iter(lines.values())), names) or not is_known(path)):
        return [_asked(line, f"{path} line {number}", names) for number, line in lines.items()]
    rows = read_questions(path, data)
    if not rows:
        raise DataError(f"{path} holds no question.", _FORM)
    if _ADDED in rows[0]:
        raise _answered(path)
    return [
        _Asked(f"{path} row {number} (counted from 0)", row, row["question"], row["context"])
        for number, row in enumerate(rows)
    ]


def _lines(path: str) -> dict[int, str]:
    """Return the lines of a file that are not blank, by their numbers from 1."""
    try:
        text = storage.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The questions {path} cannot be read: {storage.first_line(error)}",
            "Give --answer.input the path or URL of a UTF-8 file of JSON lines.",
        ) from None
    # Not splitlines: JSON strings may hold other line separators than \n.
    numbered = enumerate(text.split("\n"), start=1)
    lines = {number: line for number, line in numbered if line.strip()}
    if not lines:
        raise DataError(f"{path} holds no question.", _FORM)
    return lines


_FORM = (
    'Give one JSON object per line, such as {"question": "Who?", "context": "Ann did."}, or name '
    "its fields with --data.columns, such as question=q,context=passage."
)


def _is_row(line: str, names: list[str]) -> bool:
    """Say whether a line has fields of these names; one that is no JSON may have."""
    try:
        row = json_text.parse(line)
    except ValueError:
        return True
    return all(isinstance(_field(row, name), str) for name in names)


def _asked(line: str, where: str, names: list[str]) -> _Asked:
    """Parse and check a line; `names` are those of its fields of question and context."""
    try:
        row = json_text.parse(line)
    except ValueError:
        raise DataError(f"{where} is not JSON.", _FORM) from None
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            f"{where} is not Unicode: it has half of a surrogate pair.",
            "Write the character whole, or leave it out.",
        ) from None
    texts = []
    for name in names:
        text = _field(row, name)
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where} has no {name}.", _FORM)
        texts.append(text)
    if _ADDED in row:
        raise _answered(where)
    return _Asked(where, row, *texts)


def _answered(where: str) -> DataError:
    return DataError(
        f"{where} has a {_ADDED} already, which the answer would replace.",
        f"Rename the field {_ADDED}, or leave it out.",
    )


def _field(row: Any, path: str) -> Any:
    """Return the value of a field, `q` or `sample.q`; None where there is none."""
    if isinstance(row, dict) and path in row:
        return row[path]
    first, _, rest = path.partition(".")
    return _field(row[first], rest) if isinstance(row, dict) and first in row and rest else None


def _tasks(asked: list[_Asked]) -> list[pa.Table]:
    columns = {name: [getattr(each, name) for each in asked] for name in (*_TEXTS, "name")}
    table = pa.table(columns)
    return [
        table.slice(row, _QUESTIONS_PER_TASK) for row in range(0, len(asked), _QUESTIONS_PER_TASK)
    ]


def _refuse_existing(output: str, overwrite: bool) -> None:
    try:
        kind = Folder(output, patient=False).info().type
    except OSError as error:
        raise _unusable(output, storage.first_line(error)) from None
    if kind == fs.FileType.Directory:
        raise _unusable(output, "it is a folder")
    if kind != fs.FileType.NotFound and not overwrite:
        raise ConfigError(
            f"The output {output} exists.", "Give another --answer.output, or --overwrite."
        )


def _unusable(output: str, reason: str) -> ConfigError:
    return ConfigError(
        f"The output {output} cannot be used: {reason}",
        "Give --answer.output the path or URL of a file that this user may write.",
    )


@contextmanager
def _whole_file(output: str) -> Iterator[Any]:
    """Lend a function that writes text to a file which appears when the block has succeeded.

    Raises:
        ConfigError: There cannot be such a file; the block is not entered.
    """
    filesystem, path = storage.resolve(output)
    part = f"{path}.part"
    try:
        filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        stream = filesystem.open_output_stream(part)
    except OSError as error:
        raise _unusable(output, storage.first_line(error)) from None
    try:
        with stream:
            yield lambda text: stream.write(text.encode("utf-8"))
    except BaseException:
        with suppress(OSError):  # the cause is what counts
            filesystem.delete_file(part)
        raise
    filesystem.move(part, path)
