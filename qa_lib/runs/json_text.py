"""The boundary to JSON of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def parse(text: str | bytes, parse_float: Callable[[str], Any] | None = None) -> Any:
    """Parse JSON.

    Args:
        text: The document.
        parse_float: Makes a value of a number that is no integer, as of `json.loads`.

    Raises:
        ValueError: It is no JSON, nested too deeply, or holds a number of too many digits.
    """
    try:
        return json.loads(text, parse_float=parse_float)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
