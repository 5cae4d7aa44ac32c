"""Questions from the Hugging Face hub, read with `datasets`."""

from __future__ import annotations

import sys

import pyarrow as pa

from qa_lib.data import json_files
from qa_lib.data.split_names import SPLIT_NAMES, split_in
from qa_lib.errors import DataError
from qa_lib.runs import storage
from qa_lib.runs.hub import PRIVATE, refusal

_TIMEOUT_S = 4.0
ALTERNATIVES = (
    "Give --data.source `embedded`, a file or folder (SQuAD JSON, JSON lines, Parquet, CSV, "
    "Arrow), a URL of one (gs://...), or a hub id that this machine can reach. HF_HUB_OFFLINE=1 "
    "uses what was downloaded before."
)


def read(repo_id: str, split: str) -> pa.Table:
    """Read a split of a hub dataset, from the hub or from the cache of `datasets`.

    Args:
        repo_id: Such as rajpurkar/squad.
        split: `train` or `eval`, which the hub calls validation.

    Returns:
        The columns that the dataset has, for `columns.normalise`.

    Raises:
        DataError: The hub cannot be reached, or it lacks the dataset or the split.
    """
    _check_reachable(repo_id)
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        splits = datasets.load_dataset(repo_id)
    except Exception as error:  # of transport, cache, builder or parser, without a common base
        refused = refusal(error, f"dataset {repo_id}")
        if refused is not None:
            raise DataError(*refused) from None
        raise DataError(
            f"The hub dataset {repo_id} does not load: {storage.first_line(error)}.", ALTERNATIVES
        ) from error
    for names in SPLIT_NAMES[split]:
        for name in splits:
            if split_in(name) in names:
                return json_files.unnest(splits[name].with_format("arrow")[:], repo_id)
    raise DataError(
        f"The hub dataset {repo_id} has no split {' or '.join(SPLIT_NAMES[split][0])}; "
        f"it has {', '.join(splits)}.",
        "Download it and name the file, or choose another with --data.source or "
        "--data.eval-source.",
    )


def _check_reachable(repo_id: str) -> None:
    """Ask the hub once, with a timeout: `load_dataset` alone would retry for half a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    here = f"There is no file or folder {repo_id} here"
    try:
        HfApi().dataset_info(repo_id, timeout=_TIMEOUT_S)
    except OfflineModeIsEnabled:
        return  # the user wants the cache only
    except Exception as error:  # of the transport too: httpx, sockets
        refused = refusal(error, f"dataset {repo_id}")
        if refused is not None:
            raise DataError(*refused) from None
        if isinstance(error, (RepositoryNotFoundError, HFValidationError)):
            problem, remedy = "no such dataset on the hub", f"{ALTERNATIVES} {PRIVATE}"
        else:
            says = "refuses it" if isinstance(error, HfHubHTTPError) else "does not answer"
            problem, remedy = f"the hub {says}: {storage.first_line(error)}", ALTERNATIVES
        raise DataError(f"{here}, and {problem}.", remedy) from None
