"""Write docs/reference/settings.md from the settings' types: every flag, its bounds and meaning.

    make reference

A test compares the page with what this would write.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from qa_lib.config import Settings  # noqa: E402  (found through the line above)
from qa_lib.config.fields import Setting, group_of  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "settings.md"
WIDTH = 100
OPENING = """\
# Settings

<!-- Written by `make reference` from qa_lib/config; edit the descriptions there. -->

One settings tree serves every job; a job reads the groups that concern it. A recipe holds the same
names as YAML (`train: {epochs: 2}`), and flags override it: defaults < recipe < flags. "none"
stands for no value. `python -m jobs.JOB --help` prints the same list with the recipe's values.
"""


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(settings_page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


def settings_page() -> str:
    """Return the page in Markdown: a section per group, an item per flag."""
    return OPENING + "".join(_section(Settings, ""))


def _section(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield the lines of a group's own flags, then the sections of the groups inside it."""
    title = prefix.rstrip(".") or "General"
    yield f"\n## {title}\n\n{(model.__doc__ or '').splitlines()[0]}\n\n"
    for name, info in model.model_fields.items():
        if group_of(info) is None:
            yield _item(Setting(f"{prefix}{name}", info))
    for name, info in model.model_fields.items():
        group = group_of(info)
        if group is not None:
            yield from _section(group, f"{prefix}{name}.")


def _item(setting: Setting) -> str:
    """Return one flag as a list item: flag, type, description, default and bounds."""
    default = setting.default
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    limits = [f"default {'none' if default is None else default}", setting.bounds]
    head = f"- **`{setting.flag} {setting.value_type}`**"
    text = f"{setting.info.description} *({'; '.join(filter(None, limits))})*"
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join([f"{head}  ", *lines]) + "\n"


if __name__ == "__main__":
    main()
