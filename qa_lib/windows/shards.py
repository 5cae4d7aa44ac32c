"""Windows on storage, for sets that memory does not hold.

A shard is a folder named by what its windows were made from: the same questions cut the same way
are cut once. It is complete or absent, and its files are checked whenever they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib.data import fingerprint
from qa_lib.errors import DataError
from qa_lib.runs import manifest
from qa_lib.runs.folder import Damaged, Folder, StoredFile
from qa_lib.runs.storage import join

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from qa_lib.windows.building import WindowSpec

_VERSION = 3
_WINDOWS, _LENGTHS = "windows.parquet", "lengths.parquet"


@dataclass(frozen=True)
class Shard:
    """Windows of neighbouring questions, as a folder at `location`, a path or URL.

    Its columns are read when they are asked for, and nothing of it stays in memory.

    Attributes:
        location: The folder.
        files: By name.
        column_names: Those of `windows.build`.
        too_long: Rows of the questions without a window.
    """

    location: str
    files: dict[str, StoredFile]
    column_names: list[str]
    too_long: list[int]

    @classmethod
    def open(cls, location: str) -> Shard:
        """Return the shard in a folder.

        Raises:
            Damaged: There is none, or it is incomplete.
        """
        written = manifest.read(Folder(location))
        fields = written.fields
        files = {file.name: file for file in written.files}
        return cls(location, files, fields["columns"], fields["too_long"])

    def lengths(self) -> np.ndarray:
        """Return the tokens of each window, (windows,) int32."""
        lengths: np.ndarray = self._read(_LENGTHS)["length"].to_numpy()
        return lengths

    def take(self, places: pa.Array) -> pa.Table:
        """Return the windows at these places of the shard."""
        return self._read(_WINDOWS).take(places)

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        """Return one column of all windows."""
        return self._read(_WINDOWS, [name])[name]

    def _read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        import pyarrow.parquet as pq

        try:
            content = Folder(self.location).read_checked(self.files[name])
        except Damaged as damage:
            raise DataError(
                f"Stored windows in {self.location} are damaged: {damage}.",
                "Delete that folder, and repeat the command with --resume: it is made again.",
            ) from None
        return pq.read_table(pa.BufferReader(content), columns=columns)


def place_of(
    storage: str, questions: pa.Table, tokenizer: PreTrainedTokenizerFast, spec: WindowSpec
) -> str:
    """Return where the windows of these questions belong: a folder named by their content.

    Args:
        storage: Where runs are kept, a path or URL.
        questions: Of the SQuAD schema, with their numbers in a column `row`.
        tokenizer: Cuts them.
        spec: How.
    """
    parts: list[Any] = [_VERSION, astuple(spec), fingerprint(questions.drop_columns("row"))]
    parts += [questions["row"][0].as_py() if questions.num_rows else 0]
    # What decides windows besides the backend.
    parts += [tokenizer.truncation_side, tokenizer.split_special_tokens]
    parts += [tokenizer.cls_token_id, tokenizer.bos_token_id, tokenizer.model_input_names]
    digest = hashlib.sha256(repr(parts).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    return join(storage, "cache", "windows", digest.hexdigest()[:32])


def store(location: str, cut: Callable[[], tuple[pa.Table, list[int]]]) -> Shard:
    """Return the shard at a location; where there is none, cut windows and write it.

    Args:
        location: From `place_of`.
        cut: Returns the windows, and the rows of the questions without one.
    """
    try:
        return Shard.open(location)
    except Damaged:
        pass
    table, too_long = cut()
    folder = Folder(location)
    files = [
        folder.write_parquet(_WINDOWS, table, compression="zstd"),
        folder.write_parquet(_LENGTHS, table.select(["length"])),
    ]
    manifest.write(folder, files, columns=table.column_names, too_long=too_long)
    return Shard.open(location)
