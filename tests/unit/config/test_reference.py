"""The page of all settings is what the types say today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from qa_lib.config import Settings
from qa_lib.config.fields import settings_in

ROOT = Path(__file__).resolve().parents[3]


def written() -> str:
    """Return the page that `make reference` would write."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None and spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    return reference.settings_page()


def test_the_page_of_settings_is_current():
    page = ROOT / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8") == written(), "run `make reference`"


def test_the_page_names_every_flag_within_100_columns():
    text = written()
    assert not [each.flag for each in settings_in(Settings) if f"`{each.flag} " not in text]
    assert max(map(len, text.splitlines())) <= 100
