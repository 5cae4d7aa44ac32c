"""Gathering windows from blocks, and cutting questions into blocks."""

import numpy as np
import pyarrow as pa

from qa_lib.training import dataset


def blocks_of(sizes: list[int]) -> tuple[list[pa.Table], np.ndarray]:
    starts = np.cumsum([0, *sizes[:-1]])
    tables = [
        pa.table(
            {"n": list(range(start, start + size)), "ids": [[n] * (n + 1) for n in range(size)]}
        )
        for start, size in zip(starts.tolist(), sizes, strict=True)
    ]
    return tables, starts


def test_windows_come_in_the_order_of_their_indices_across_blocks_and_repeats():
    tables, starts = blocks_of([3, 1, 5, 2])
    indices = np.array([10, 0, 4, 4, 3, 9, 2, 0])
    assert dataset.take(tables, starts, indices)["n"].to_pylist() == indices.tolist()


def test_only_blocks_that_hold_windows_are_read():
    tables, starts = blocks_of([3, 1, 5, 2])
    indices = np.array([8, 0, 5])
    needed = np.unique(dataset.owners(starts, indices)).tolist()
    assert needed == [0, 2]
    found = dataset.take({number: tables[number] for number in needed}, starts, indices)
    assert found["n"].to_pylist() == [8, 0, 5]


def test_the_number_of_blocks_does_not_grow_with_the_set():
    assert dataset.questions_per_block(88_000) == dataset.questions_per_block(5_000)
    for num_questions in (10_000_000, 300_000_000):
        assert num_questions / dataset.questions_per_block(num_questions) <= 256


def test_a_block_ends_where_the_context_changes():
    contexts = [f"context {number // 7}" for number in range(9_000)]
    table = pa.table({"context": contexts, "question": [str(n) for n in range(9_000)]})
    blocks = dataset._blocks(table, 2_500)
    assert len(blocks) >= 3
    rows = pa.concat_tables(blocks)["row"].to_pylist()
    assert rows == list(range(9_000))
    for one, other in zip(blocks, blocks[1:], strict=False):
        assert one["context"][-1].as_py() != other["context"][0].as_py()


def test_one_context_for_all_questions_is_one_block():
    table = pa.table({"context": ["same"] * 6_000, "question": ["?"] * 6_000})
    assert sum(block.num_rows for block in dataset._blocks(table, 2_500)) == 6_000
