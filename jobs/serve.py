r"""Answer questions over HTTP, by Ray Serve.

    python -m jobs.serve runs/mine
    python -m jobs.serve runs/small --serve.beside runs/parent --serve.replicas 2
    python -m jobs.serve runs/mine --serve.host 0.0.0.0 --serve.token-file token
    curl -s http://127.0.0.1:8000/answer -H 'Content-Type: application/json' \
        -d '{"question": "Who built it?", "context": "Ann built the bridge in 1890."}'

It listens on 127.0.0.1 unless a token is set. SIGTERM and Ctrl-C end it when what was asked before
is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings


def describe(settings: Settings) -> dict[str, Any]:
    """Return which models would be served."""
    from qa_lib.serving.service import loading

    loading.check(settings)
    return {"models": loading.named_models(settings), "backend": settings.serve.backend}


def run(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    from qa_lib.serving.service import running

    running.serve_until_stopped(settings)


JOB = Job(
    "serve",
    run,
    describe,
    has_run_folder=False,
    reads_runs_of=("train", "adjust", "tune", "export"),
    first_groups=("serve", "answer"),
    first_flags=(
        "serve.host",
        "serve.port",
        "serve.token_file",
        "serve.beside",
        "serve.backend",
        "serve.replicas",
        "serve.max_replicas",
        "serve.batch_tokens",
        "serve.max_body_bytes",
        "serve.max_context",
        "serve.timeout_s",
        "serve.drain_s",
        "answer.top_k",
        "data.max_length",
        "train.precision",
    ),
    positional="--model.name",
)

if __name__ == "__main__":
    JOB.main()
