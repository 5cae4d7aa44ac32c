"""Imports that libraries make on the chance that they are of use, and that cost each start time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


def collect_rarely() -> None:
    """Look for garbage in cycles every 100,000 objects: imports make a million that stay.

    Python's default is every 700; it takes 0.5 s of the start of a process with transformers. Those
    that stay are looked at again only after three million more.
    """
    gc.set_threshold(100_000, 30)


def spare_pandas() -> None:
    """Keep pyarrow from importing pandas for its first array: half a second of each start.

    pyarrow looks whether the values are a Series. Told once that there is no pandas, it looks no
    more, and still imports it for what needs it, such as `Table.to_pandas`.
    """
    import pyarrow as pa

    with _hidden("pandas"):
        pa.array([0])


def spare_scipy() -> None:
    """Keep transformers from importing scipy.optimize for the losses of detection models.

    It takes 0.4 s of each process that loads a model. No reading model of transformers needs scipy.
    """
    from transformers.utils import is_scipy_available

    is_scipy_available.cache_clear()
    with _hidden("scipy"):
        is_scipy_available()  # it remembers what it finds


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let a package seem not to be installed, unless it is imported already."""
    before = list(sys.meta_path)
    sys.meta_path[:] = [_Without(name, before)]
    try:
        yield
    finally:
        sys.meta_path[:] = before


@dataclass(frozen=True)
class _Without:
    """A finder that finds what the others find, except one package."""

    name: str
    finders: Sequence[Any]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the specification of a module, or None, as a finder of `sys.meta_path` does."""
        if name == self.name:
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in found if spec is not None), None)
