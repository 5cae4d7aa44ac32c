"""manifest.json: the files of a folder with size and hash, written last.

A folder without its manifest is incomplete. Readers check a file's hash before they open it. The
manifest holds the writer's own fields, then `files` (`name`, `num_bytes`, `sha256` of each) and
`sha256`, the hash of all the rest of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from qa_lib.runs import json_text
from qa_lib.runs.folder import Damaged, Folder, StoredFile

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a manifest says: the files, and the fields that the writer added."""

    files: tuple[StoredFile, ...]
    fields: dict[str, Any]


def write(folder: Folder, files: Iterable[StoredFile], **fields: Any) -> None:
    """Write the manifest that makes a folder complete.

    Args:
        folder: Holds the files already.
        files: What the folder's write methods returned.
        **fields: What else readers need; JSON.
    """
    content = fields | {"files": [asdict(file) for file in files]}
    content["sha256"] = _hash(content)
    folder.write_text(MANIFEST, json.dumps(content, indent=2) + "\n")


def read(folder: Folder) -> Manifest:
    """Read a folder's manifest; its files are not checked.

    Raises:
        Damaged: It is missing, is no manifest, or does not match its own hash.
    """
    try:
        content = folder.read_bytes(MANIFEST)
    except FileNotFoundError:
        raise Damaged(f"{MANIFEST} is missing: the writing was not completed") from None
    return parse(content.to_pybytes())


def parse(text: bytes) -> Manifest:
    """Return what the text of a manifest says.

    Raises:
        Damaged: It is no manifest, or does not match its own hash.
    """
    try:
        content = json_text.parse(text)
        sha256 = content.pop("sha256")
        files = tuple(StoredFile(**file) for file in content["files"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(f"{MANIFEST} is not readable") from None
    if sha256 != _hash(content):
        raise Damaged(f"{MANIFEST} does not match its SHA-256")
    del content["files"]
    return Manifest(files, content)


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
