"""Ask a model on a page of this machine, an adjusted one beside its parent.

    python -m jobs.demo runs/train-quickstart-001
    python -m jobs.demo runs/adjust-quickstart-001 --demo.port 0
    python -m jobs.demo runs/mine --demo.beside runs/other

It listens on 127.0.0.1 only; Ctrl-C stops it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings


def run(settings: Settings) -> None:
    """Serve the page until Ctrl-C."""
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


JOB = Job(
    "demo",
    run,
    has_run_folder=False,
    reads_runs_of=("train", "adjust", "tune", "export"),
    first_groups=("demo", "answer"),
    first_flags=(
        "demo.port",
        "demo.beside",
        "demo.n_best",
        "answer.max_answer_length",
        "data.max_length",
        "data.stride",
    ),
    positional="--model.name",
)

if __name__ == "__main__":
    JOB.main()
