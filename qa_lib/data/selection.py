"""Which rows of a source belong to a split: samples, and articles that are held out."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from qa_lib.errors import DataError


def sample(table: pa.Table, limit: int | None) -> pa.Table:
    """Take `limit` rows from the whole table, in its order.

    The first 8,000 rows of SQuAD are of a few articles, and teach and measure less than 8,000 of
    all 442. The sample is the same in every run, and a larger one contains the smaller ones.
    """
    if limit is None or limit >= table.num_rows:
        return table
    order = np.random.default_rng(0).permutation(table.num_rows)
    return table.take(pa.array(np.sort(order[:limit])))


def part_articles(table: pa.Table, fraction: float, split: str, source: str) -> pa.Table:
    """Keep the rows of the held-out articles, or for `train` those of the others."""
    titles = table["title"].combine_chunks().dictionary_encode()
    held_out = np.array([_share(title) < fraction for title in titles.dictionary.to_pylist()])
    mask = held_out[titles.indices.to_numpy()]  # (rows,)
    part = table.filter(pa.array(mask if split == "holdout" else ~mask))
    if part.num_rows == 0:
        raise DataError(
            f"data.holdout_articles {fraction:g} of the {len(held_out):,} articles of {source} "
            f"leaves none for {split}.",
            f"Choose a {'larger' if split == 'holdout' else 'smaller'} --data.holdout-articles.",
        )
    return part


def _share(title: str) -> float:
    """Map a title to [0, 1), uniformly, and independently of other titles."""
    return int.from_bytes(hashlib.sha256(title.encode()).digest()[:8], "big") / 2**64
