"""The service under load, beside the plain way: a FastAPI route around a transformers model.

    python -m benchmarks.serving runs/mine [--seconds 10] [--rounds 3] [--clients 1 8 64]

Four servers of one model run on this machine at the same time and are asked in turns: the plain one
(one request at a time, float32), jobs.serve with torch, jobs.serve with the int8 file, and the slim
server with the int8 file. Clients ask SQuAD dev questions (embedded ones without SQuAD) over
connections that stay open, each as soon as it has its answer. The table has the median of the
rounds: requests per second, and the 50th and 99th percentile of the latency in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
from fastapi import Body

from benchmarks._squad import REAL_SQUAD
from qa_lib import config
from qa_lib.data import load_questions

_NUM_QUESTIONS = 500
_WARM_UP_S = 2.0
_PLAIN = "plain"  # first argument of the process of the plain server


def main(argv: Sequence[str]) -> None:
    """Measure, and print the table."""
    if argv and argv[0] == _PLAIN:
        serve_plainly(argv[1])
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a run folder")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    wanted = parser.parse_args(argv)
    bodies = questions()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="qa-serving-"))
        exported = export(wanted.model, folder)
        commands = {
            "plain": ["-m", "benchmarks.serving", _PLAIN, wanted.model],
            "serve": ["-m", "jobs.serve", wanted.model],
            "serve int8": ["-m", "jobs.serve", exported, "--serve.backend", "int8"],
            "slim int8": [
                *["-m", "qa_lib.serving.service.slim", exported, "--serve.backend", "int8"],
            ],
        }
        ports = {name: stack.enter_context(server(words)) for name, words in commands.items()}
        for port in ports.values():
            asyncio.run(ask(port, bodies, 8, _WARM_UP_S))
        print(f"{'server':<12}{'clients':>8}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}")
        for num_clients in wanted.clients:
            rounds: dict[str, list[list[float]]] = {name: [] for name in ports}
            for _ in range(wanted.rounds):
                for name, port in ports.items():
                    rounds[name].append(figures(port, bodies, num_clients, wanted.seconds))
            for name, found in rounds.items():
                speed, p50, p99 = (median(values) for values in zip(*found, strict=True))
                print(f"{name:<12}{num_clients:>8}{speed:>12.1f}{p50:>9.1f}{p99:>9.1f}", flush=True)


def questions() -> list[bytes]:
    """Return requests, in an order that mixes passages."""
    source = str(REAL_SQUAD) if REAL_SQUAD.is_dir() else "embedded"
    rows = load_questions(config.DataSettings(source=source), "eval").table
    chosen = np.random.default_rng(0).permutation(rows.num_rows)[:_NUM_QUESTIONS]
    some = rows.take(chosen).select(["question", "context"]).to_pylist()
    print(f"{len(some)} questions of {source}")
    return [json.dumps(row).encode() for row in some]


def export(model: str, folder: str) -> str:
    """Export a run to int8, and return the new run's folder."""
    flags = ["--model.name", model, "--export.quantize", "--data.eval-limit", "20"]
    flags += ["--data.source", "embedded", "--storage", folder, "--run-name", "exported"]
    subprocess.run([sys.executable, "-m", "jobs.export", *flags], check=True, capture_output=True)
    return str(Path(folder) / "exported")


@contextmanager
def server(words: list[str]) -> Iterator[int]:
    """Start a server on a free port; yields the port."""
    flags = [] if _PLAIN in words else ["--serve.port", "0"]
    with subprocess.Popen(
        [sys.executable, *words, *flags], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r":(\d+)/answer", line)
            assert found, line
            yield int(found[1])
        finally:
            process.terminate()


def figures(port: int, bodies: list[bytes], num_clients: int, seconds: float) -> list[float]:
    """Return requests per second, and p50 and p99 of the latency in milliseconds."""
    started = time.perf_counter()
    latencies = np.array(asyncio.run(ask(port, bodies, num_clients, seconds)))
    taken = time.perf_counter() - started
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return [len(latencies) / taken, float(p50), float(p99)]


async def ask(port: int, bodies: list[bytes], num_clients: int, seconds: float) -> list[float]:
    """Let clients ask for so long; return the seconds that each request took."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (sent := time.perf_counter()) < until:
            body = bodies[number % len(bodies)]
            number += num_clients
            writer.write(_HEAD % len(body) + body)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"content-length: (\d+)", head)
            assert head.startswith(b"http/1.1 200") and length, head
            await reader.readexactly(int(length[1]))
            latencies.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*map(client, range(num_clients)))
    return latencies


_HEAD = (
    b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n"
)


def serve_plainly(model: str) -> None:
    """Serve a model as one would without this suite: a route, a lock, transformers."""
    import socket

    import torch
    import uvicorn
    from fastapi import FastAPI
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    from qa_lib import models

    folder = models.resolve(model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    reader = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    lock = threading.Lock()
    app = FastAPI()

    @app.post("/answer")
    def answer(asked: Annotated[dict[str, str], Body()]) -> dict[str, Any]:
        context = asked["context"]
        with lock, torch.inference_mode():
            encoded = tokenizer(
                asked["question"],
                context,
                truncation="only_second",
                max_length=384,
                return_tensors="pt",
            )
            starts, ends = reader(**encoded)[:2]
            inside = torch.tensor([part == 1 for part in encoded.sequence_ids()])
            spans = (starts.T + ends).masked_fill(~(inside & inside[:, None]).triu().tril(14), -1e9)
            first, last = map(encoded.token_to_chars, divmod(int(spans.argmax()), len(spans)))
        return {"answer": context[first.start : last.end], "start": first.start, "end": last.end}

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/answer", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1:])
