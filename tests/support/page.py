"""A page as a browser would read it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from qa_lib.reporting import pages

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(1)> & "quotes" \u2028'
PLOTLY = "the script of plotly"
_VOID = {"meta", "link", "br", "img", "rect", "input", "wbr"}


def number(text: str) -> float:
    """Read back a figure as a page shows it."""
    return float(text.replace(",", ""))


class Page(HTMLParser):
    """What a browser would make of a page: elements, the text of some, and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fields: list[tuple[str, str]] = []  # (field of result.json, text)
        self.scripts: list[tuple[dict[str, Any], str]] = []
        self.rows: list[list[str]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.text = ""
        self._open: list[tuple[str, dict[str, Any]]] = []
        # Python's parser takes a minute for plotly's 1.2 MB.
        self.feed(html.replace(pages.plotly(), PLOTLY))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if "data-field" in dict(attrs):
            self.fields.append((dict(attrs)["data-field"], ""))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in _VOID:
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tag, attrs = self._open[-1] if self._open else ("", {})
        if tag == "script":
            self.scripts[-1] = self.scripts[-1][0], self.scripts[-1][1] + data
        elif tag != "style":
            self.text += data
            if "data-field" in attrs:
                self.fields[-1] = self.fields[-1][0], self.fields[-1][1] + data
            if self.rows and self.rows[-1] and any(name in ("td", "th") for name, _ in self._open):
                self.rows[-1][-1] += data

    def chart(self, name: str) -> Any:
        """Return the data of a chart, as its script reads them."""
        return next(json.loads(t) for a, t in self.scripts if a.get("id") == f"figure-{name}")
