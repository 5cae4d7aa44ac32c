"""Ask a model on a page of this machine, an adjusted one beside its parent.

    python -m jobs.demo runs/train-quickstart-001
    python -m jobs.demo runs/adjust-quickstart-001 --demo.port 0
    python -m jobs.demo runs/mine --demo.beside runs/other

It listens on 127.0.0.1 alone; Ctrl-C ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def demo(settings: Settings) -> None:
    """Serve the page until Ctrl-C."""
    if settings.dry_run:
        print(settings.to_yaml())
        return
    from qa_lib.reporting import pages
    from qa_lib.reporting.demo_page import demo_page
    from qa_lib.serving import demo

    with demo.open_server(settings, demo_page) as server:
        try:
            print(f"{server.url} asks {settings.model.name}; Ctrl-C ends it", flush=True)
            pages.open_in_browser(server.url)
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    _entry.main("demo", demo)
