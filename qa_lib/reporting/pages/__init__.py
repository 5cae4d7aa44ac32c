"""Pages of one file: HTML with its style, scripts and data, and nothing from a network.

    html = pages.render("report.html", scripts=[pages.script("report.js")], title="mine", ...)

Text is escaped by jinja2; data for scripts goes through its `tojson` filter, which leaves no `<`,
`>`, `&` or `'`. A content security policy names the hash of every script, so nothing else runs, and
forbids every request but those of `connect`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import webbrowser
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from qa_lib.errors import ConfigError
from qa_lib.reporting.pages.text import FILTERS
from qa_lib.runs import storage
from qa_lib.runs.run_folder import RunFolder

_FOLDER = Path(__file__).parent
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")  # set on Unix where there is a screen


def render(
    template: str, *, scripts: Sequence[str] = (), connect: str = "'none'", **values: Any
) -> str:
    """Return a page.

    Args:
        template: File of this folder.
        scripts: JavaScript, in the order in which it runs; trusted text, not escaped.
        connect: Where scripts may send requests, as a source of a content security policy.
        **values: Of the template, among them `title`.
    """
    hashes = " ".join(_hash(script) for script in scripts) or "'none'"
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        f"img-src data: blob:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            style=_trusted((_FOLDER / "style.css").read_text(encoding="utf-8"), "style"),
            scripts=[_trusted(script, "script") for script in scripts],
            policy=policy,
            **values,
        )
    )


def write(folder: RunFolder, name: str, html: str) -> str:
    """Write a page into a run folder, or a folder of runs, and return its path or URL.

    Raises:
        ConfigError: The folder cannot be written.
    """
    try:
        folder.write_text(name, html)
    except OSError as error:
        raise ConfigError(
            f"{folder.url(name)} cannot be written: {storage.first_line(error)}",
            "Make room there, or name a folder that this user may write.",
        ) from None
    return folder.url(name)


def script(name: str) -> str:
    """Return a script of this folder."""
    return (_FOLDER / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def plotly() -> str:
    """Return plotly.js's basic bundle, 1.2 MB: the Python package has only the whole, 4.8 MB.

    It is `plotly.js-basic-dist-min` of npm, of the version that the Python package writes for.
    """
    return script("plotly-basic.min.js")


def report_scripts(*, has_charts: bool) -> list[str]:
    """Return the scripts of a page of results; plotly.js only for charts."""
    return [*([plotly()] if has_charts else []), script("report.js")]


def open_in_browser(url: str) -> bool:
    """Open a page if there is a screen; return whether it opened.

    Without a screen `webbrowser` would start a text browser, which runs no scripts.
    """
    has_screen = sys.platform in {"darwin", "win32"} or any(map(os.environ.get, _SCREENS))
    return has_screen and webbrowser.open(url)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment


def _hash(script: str) -> str:
    # A browser reads CRLF as LF before it hashes.
    digest = hashlib.sha256(script.replace("\r\n", "\n").encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _trusted(text: str, tag: str) -> Markup:
    assert f"</{tag}" not in text.lower(), f"it would end its {tag} element"
    return Markup(text)
