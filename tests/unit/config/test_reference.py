"""The pages of settings and results are what the types say today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from qa_lib.config import Settings
from qa_lib.config.fields import settings_in

ROOT = Path(__file__).resolve().parents[3]


def written() -> dict[str, str]:
    """Return the pages that `make reference` would write."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None and spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    return reference.pages()


def test_the_pages_are_current():
    for name, text in written().items():
        page = ROOT / "docs" / "reference" / name
        assert page.read_text(encoding="utf-8") == text, "run `make reference`"


def test_every_flag_is_named_within_100_columns():
    text = written()["settings.md"]
    assert not [each.flag for each in settings_in(Settings) if f"`{each.flag} " not in text]
    assert max(map(len, text.splitlines())) <= 100
