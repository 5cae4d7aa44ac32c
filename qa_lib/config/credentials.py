"""Credentials in URLs: refused in settings, and kept out of what is printed or written.

A setting ends up in config.yaml, report.html, result.json and the entrypoint that a cluster's
dashboard shows; a secret inside it would too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

REMEDY = (
    "Give the URL without it, and change the secret if others could read this command. Storage "
    "finds credentials by itself: in environment variables (GOOGLE_APPLICATION_CREDENTIALS, "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, HF_TOKEN), by the workload identity of a "
    "cluster's machines, or in ~/.config (gcloud, fsspec/conf.json) and ~/.aws."
)

_FREE_TEXT = {"answer.question", "answer.context"}  # a question may be about a URL

# A colon in the authority that opens no port; the password may hold slashes, as AWS's do.
_PASSWORD = re.compile(r"://(?!\[)(?P<secret>[^/?#@\s]*:(?!\d{1,5}(?:[/?#]|$))[^@\s]*)@")
_NAME = re.compile(r"(?:https?|s3)://(?P<secret>(?!\*\*\*@)[^/?#@\s:]+)@", re.IGNORECASE)
_PARAMETER = re.compile(r"[?&;#](?P<name>[^=&;#?\s]+)=(?P<secret>(?!\*\*\*)[^&;#\s'\"]+)")
_SECRET_NAME = re.compile(
    r"signature|token|secret|passw|passphrase|credential|(api|access|account|private)[-_.]?key"
    r"|^(sig|key|auth|authorization|sas|pwd|pass|awsaccesskeyid)$",
    re.IGNORECASE,
)


def kind_of_secret(text: str) -> str | None:
    """Return what kind of secret a path or URL holds, in words that do not repeat it, or None."""
    for form in (text, unquote(text)):
        if "://" not in form:
            continue
        if _PASSWORD.search(form):
            return "a user and password before the @ of its URL"
        if _NAME.search(form):
            return "a user or key before the @ of its URL"
        for parameter in _PARAMETER.finditer(form):
            if _SECRET_NAME.search(unquote(parameter["name"])):
                return "a secret in the query of its URL"
    return None


def redact(text: str) -> str:
    """Return a text with the secrets of the URLs in it replaced by three asterisks."""
    if "://" not in text:
        return text
    for pattern in (_PASSWORD, _NAME):
        text = pattern.sub(lambda match: match[0].replace(match["secret"], "***"), text)

    def cover(match: re.Match[str]) -> str:
        is_secret = _SECRET_NAME.search(unquote(match["name"]))
        if not is_secret and kind_of_secret(unquote(match["secret"])) is None:
            return match[0]
        return f"{match[0][: match.start('secret') - match.start()]}***"

    return _PARAMETER.sub(cover, text)


def redact_all(values: Any) -> Any:
    """Return nested values, as YAML gives them, with every text redacted."""
    if not any(secrets_in(values)):
        return values
    if isinstance(values, dict):
        return {key: redact_all(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [redact_all(value) for value in values]
    return redact(values) if isinstance(values, str) else values


def secrets_in(
    values: Any, key: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the kind of every secret in nested values of settings.

    Args:
        values: As YAML gives them: one value may stand in several places, and inside itself.
        key: Dotted key of the values.
        seen: Groups and lists that were walked already.
    """
    seen = set() if seen is None else seen
    if isinstance(values, str):
        kind = kind_of_secret(values)
        if kind and (key not in _FREE_TEXT or values.startswith("@")):
            yield key, kind
    elif isinstance(values, (dict, list, tuple)) and id(values) not in seen:
        seen.add(id(values))
        if isinstance(values, dict):
            for name, value in values.items():
                yield from secrets_in(value, f"{key}.{name}".lstrip("."), seen)
        else:
            for value in values:
                yield from secrets_in(value, key, seen)
