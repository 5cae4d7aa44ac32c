"""A stand-in for Google's servers, and a validator of requests by Google's discovery documents.

google-api-python-client ships the documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import googleapiclient.discovery_cache
import httplib2

Answer = tuple[int, dict[str, Any]]
DOCUMENTS = Path(googleapiclient.discovery_cache.__file__).with_name("documents")
_TYPES = {"string": str, "boolean": bool, "integer": int, "number": (int, float)}


class Google:
    """Answers requests by the first pattern that fits METHOD and URL, and keeps them.

    Attributes:
        answers: (status, body), or what returns it for a request's body, by regular expressions of
            "METHOD URL".
        requests: (method, URL without its query, body) of each request.
    """

    def __init__(self, answers: dict[str, Answer | Callable[[Any], Answer]]) -> None:
        """Take the answers."""
        self.answers = answers
        self.requests: list[tuple[str, str, Any]] = []

    def request(self, uri: str, method: str = "GET", body: Any = None, **_: Any) -> Any:
        """Answer as httplib2 does; a request that nobody foresaw gets 404."""
        url = uri.partition("?")[0]
        content = json.loads(body) if body else None
        self.requests.append((method, url, content))
        for pattern, answer in self.answers.items():
            if re.search(pattern, f"{method} {url}"):
                status, reply = answer(content) if callable(answer) else answer
                break
        else:
            status, reply = 404, {"error": {"code": 404, "message": f"{url} was not found"}}
        return httplib2.Response(
            {"status": status, "content-type": "application/json"}
        ), json.dumps(reply).encode()

    def close(self) -> None:
        """Nothing is open."""


def faults_of_body(api: str, schema: str, body: Any) -> list[str]:
    """Return what a discovery document such as `compute.v1` does not allow in a body."""
    document = json.loads((DOCUMENTS / f"{api}.json").read_text())
    return list(_faults({"$ref": schema}, body, schema, document["schemas"]))


def _faults(kind: dict[str, Any], value: Any, path: str, schemas: dict[str, Any]) -> Any:
    if "$ref" in kind:
        kind = schemas[kind["$ref"]]
    if kind["type"] == "object":
        if not isinstance(value, dict):
            yield f"{path} is not an object"
            return
        for name, part in value.items():
            if (inner := kind.get("properties", {}).get(name)) is not None:
                yield from _faults(inner, part, f"{path}.{name}", schemas)
            elif "additionalProperties" in kind:
                yield from _faults(kind["additionalProperties"], part, f"{path}.{name}", schemas)
            else:
                yield f"{path} has no field {name}"
    elif kind["type"] == "array":
        if not isinstance(value, list):
            yield f"{path} is not a list"
            return
        for position, item in enumerate(value):
            yield from _faults(kind["items"], item, f"{path}[{position}]", schemas)
    else:
        # 64-bit integers travel as strings; Google's servers take JSON numbers for them too.
        fits = isinstance(value, _TYPES[kind["type"]]) or (
            kind.get("format") in ("int64", "uint64") and isinstance(value, int)
        )
        if not fits:
            yield f"{path} is {value!r}, not a {kind['type']}"
        elif "enum" in kind and value not in kind["enum"]:
            yield f"{path} is {value!r}, none of {kind['enum']}"
