"""The embedded questions: reading comprehension over invented passages, in the schema of SQuAD.

The project wrote them itself: `python -m scripts.corpus` writes the two Parquet files beside this
module, and a test holds that it writes the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from qa_lib.data.schema import SCHEMA

FOLDER = Path(__file__).parent
FILE_NAMES = {"train": "embedded-train.parquet", "eval": "embedded-eval.parquet"}


def corpus(split: Literal["train", "eval"]) -> pa.Table:
    """Return the questions of a split, those of a passage next to each other.

    Args:
        split: `train` (one answer each) or `eval` (a person's surname also counts).

    Returns:
        The columns of `SCHEMA`.
    """
    return pq.read_table(FOLDER / FILE_NAMES[split], schema=SCHEMA)
