"""Settings of a service that answers questions over HTTP."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import Field

from qa_lib.config.base import Auto, BrokenRules, Group, Name

Backend = Literal["torch", "onnx", "int8"]


class ServeSettings(Group):
    """A service that answers questions over HTTP."""

    host: Name = Field(
        default="127.0.0.1",
        description="Address to listen on; any but this machine's own needs token-file.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port; 0: any free port.")
    token_file: Name | None = Field(
        default=None,
        description="File that holds the bearer token which every request must carry; none: no "
        "token.",
    )
    beside: tuple[Name, ...] | None = Field(
        default=None,
        description="Further models, PATH or NAME=PATH, each answering at /models/NAME/answer.",
    )
    backend: Backend = Field(
        default="torch",
        description="Backend: torch, or the files that `make export` wrote, by ONNX Runtime: onnx "
        "(float32) or int8.",
    )
    replicas: int = Field(default=1, ge=1, le=4096, description="Replicas of each model.")
    max_replicas: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Replicas that load may raise each model to; none: as many as replicas.",
    )
    target_requests: float = Field(
        default=16.0,
        gt=0.0,
        le=4096,
        description="Requests per replica, waiting ones included, that autoscaling aims at.",
    )
    cpus_per_replica: Annotated[float | None, Auto] = Field(
        default=None,
        gt=0.0,
        le=1024,
        description="CPUs that each replica reserves, and its threads; none: all, in equal parts.",
    )
    batch_tokens: Annotated[int | None, Auto] = Field(
        default=None,
        ge=1,
        le=2**24,
        description="Tokens that are answered at once, about (4 bytes of text count as one); none: "
        "2,048 on a CPU, 32,768 on a GPU.",
    )
    max_waiting: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="Requests that may wait or be answered at once; the next is refused (503).",
    )
    max_body_bytes: int = Field(
        default=2**20, ge=64, le=2**30, description="Longest body of a request, in bytes."
    )
    max_context: int = Field(
        default=100_000, ge=1, le=2**28, description="Longest context, in characters."
    )
    max_questions: int = Field(
        default=64, ge=1, le=65536, description="Most questions in one request."
    )
    timeout_s: float = Field(
        default=30.0, gt=0.0, le=3600, description="Seconds after which a request is given up."
    )
    drain_s: float = Field(
        default=30.0,
        ge=0.0,
        le=3600,
        description="Seconds that requests in progress have left after SIGTERM or Ctrl-C.",
    )

    def broken_rules(self) -> BrokenRules:
        """Yield the rules that do not hold."""
        if self.token_file is None and not is_loopback(self.host):
            yield (
                ("serve.host", "serve.token_file"),
                f"serve.host {self.host} can be reached from other machines: it needs "
                "serve.token_file (`openssl rand -hex 32 > token` makes a token)",
            )
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            yield (
                ("serve.replicas", "serve.max_replicas"),
                f"serve.max_replicas ({self.max_replicas}) is below serve.replicas "
                f"({self.replicas})",
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class PushSettings(Group):
    """A run's model on the Hugging Face hub."""

    repo: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$",
        description="Repository to write, USER/NAME; it is made where there is none.",
    )
    public: bool = Field(
        default=False, description="Whether a repository that is made can be seen by everyone."
    )
    license: Name | None = Field(
        default=None,
        description="Licence in the card, such as apache-2.0; none: the base model's, if known.",
    )
    language: Name | None = Field(
        default=None, description="Language in the card, such as en; none: the data's, if known."
    )
