"""Write docs/reference from the types: every flag of the settings, every field of result.json.

    make reference

A test compares the pages with what this would write.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from qa_lib.config import Settings  # noqa: E402  (found through the line above)
from qa_lib.config.fields import Setting, group_of  # noqa: E402
from qa_lib.runs.result import SECTIONS  # noqa: E402

FOLDER = ROOT / "docs" / "reference"
WIDTH = 100
OPENING = """\
# Settings

<!-- Written by `make reference` from qa_lib/config; edit the descriptions there. -->

One settings tree serves every job; a job reads the groups that concern it. A recipe holds the same
names as YAML (`train: {epochs: 2}`), and flags override it: defaults < recipe < flags. "none"
stands for no value. `python -m jobs.JOB --help` prints the same list with the recipe's values.
"""

RESULTS_OPENING = """\
# Fields of result.json

<!-- Written by `make reference` from qa_lib/runs/result.py; edit the descriptions there. -->

result.json of a run is one flat object. The sections below are the parts of a job that contribute
to it; a field that does not apply is left out. Scores are 0 to 100.
"""


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print((FOLDER / name).relative_to(ROOT))


def pages() -> dict[str, str]:
    """Return the pages in Markdown, by file name."""
    return {"settings.md": settings_page(), "results.md": results_page()}


def results_page() -> str:
    """Return the page of result.json: a section per typed section, an item per field."""
    parts = [RESULTS_OPENING]
    for section in dict.fromkeys(chain(*SECTIONS.values())):
        jobs = ", ".join(job for job, sections in SECTIONS.items() if section in sections)
        parts.append(f"\n## {section.__name__}\n\n{section.__doc__}\n\nJobs: {jobs}.\n\n")
        for name, field in section.model_fields.items():
            parts.append(_wrapped(f"- **`{name}`** {field.title}: {field.description}"))
    return "".join(parts)


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
    return f"{head}  \n{_wrapped(text, '  ')}"


def _wrapped(text: str, indent: str = "") -> str:
    """Return a list item's text in lines; what follows the first line is indented by two."""
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
