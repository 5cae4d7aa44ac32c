"""Checkpoints that are complete or absent.

A checkpoint is a folder `step-000000NNN` with each rank's files and, written last, `manifest.json`
with the size and SHA-256 of every one of them, and its own. A folder without a manifest is
incomplete, one whose files do not match is damaged: it is named, and the one before it is used.
Nothing in a checkpoint is opened before its hash has matched: DeepSpeed's files are pickles.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from qa_lib.errors import CheckpointError
from qa_lib.runs import storage
from qa_lib.runs.storage import retry

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointFile:
    """One file of a checkpoint: its name, size and SHA-256."""

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        step: Optimizer steps taken when it was written: the next step to take.
        directory: Its folder, a path inside the store's filesystem.
        meta: What the writer noted about it, for example the world size.
        files: Every file, with size and hash.
    """

    step: int
    directory: str
    meta: dict[str, Any]
    files: tuple[CheckpointFile, ...]


class CheckpointStore:
    """The checkpoints of one run, on a local disk or at a URL."""

    def __init__(self, location: str) -> None:
        """Open the folder at `location`, a path or a URL; it need not exist yet."""
        self.filesystem, self.root = storage.resolve(location)

    def write(
        self,
        step: int,
        folder: Path,
        meta: dict[str, Any],
        *,
        is_main: bool,
        gather: Callable[[Any], list[Any]],
        keep: int = 2,
    ) -> Checkpoint | None:
        """Store what every rank has put into its local folder, all of it or nothing.

        Called by every rank at the same step. The previous checkpoints stay until this one is
        complete; then all but the newest `keep` are removed.

        Args:
            step: Optimizer steps taken.
            folder: This rank's files; names must differ between ranks.
            meta: Noted in the manifest by the main rank.
            is_main: True on exactly one rank, which writes the manifest.
            gather: All-gather of a picklable object over the ranks.
            keep: How many complete checkpoints to leave.

        Returns:
            The checkpoint, or None where a rank could not write (full disk, storage away): training
            can go on, and the last good checkpoint is untouched.
        """
        directory = f"{self.root}/step-{step:09d}"
        try:
            outcome: Any = self._upload(folder, directory)
        except OSError as error:
            outcome = str(error)
        outcomes = gather(outcome)
        problems = sorted({outcome for outcome in outcomes if isinstance(outcome, str)})
        checkpoint = None
        if not problems:
            files = tuple(file for outcome in outcomes for file in outcome)
            checkpoint = Checkpoint(step, directory, meta, files)
            if is_main:
                try:
                    self._write_manifest(checkpoint)
                    self._remove_all_but(keep)
                except OSError as error:
                    problems = [str(error)]
        # The main rank alone knows whether the manifest was written.
        problems = gather(problems)[0]
        if problems:
            if is_main:
                _log.warning("No checkpoint at step %d: %s", step, "; ".join(problems))
                self._discard(directory)
            return None
        return checkpoint

    def newest_good(self, warn: Callable[[str], None] = _log.warning) -> Checkpoint | None:
        """Return the newest checkpoint whose every file matches its manifest, or None.

        Args:
            warn: Receives one line for each damaged checkpoint that is passed over.

        Raises:
            OSError: The storage stays away. That is no damage: to go on from an older checkpoint
                would throw good steps away.
        """
        for directory in sorted(self._directories(), reverse=True):
            try:
                checkpoint = self._read_manifest(directory)
                self._verify(checkpoint)
                return checkpoint
            except CheckpointError as error:
                warn(error.problem)
        return None

    def check_all(self) -> list[tuple[str, str]]:
        """Return the folder of every checkpoint, oldest first, and what is wrong with it, or ""."""
        found = []
        for directory in sorted(self._directories()):
            try:
                self._verify(self._read_manifest(directory))
                found.append((directory, ""))
            except CheckpointError as error:
                found.append((directory, error.problem))
        return found

    def fetch(
        self, checkpoint: Checkpoint, folder: Path, wanted: Callable[[str], bool] = lambda _: True
    ) -> None:
        """Copy a checkpoint's files into a local folder.

        Args:
            checkpoint: What `newest_good` returned.
            folder: Where to; made where absent.
            wanted: Chooses by file name.

        Raises:
            CheckpointError: A file is no longer what the manifest says.
        """
        for file in checkpoint.files:
            if wanted(file.name):
                target = folder / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                source = f"{checkpoint.directory}/{file.name}"
                retry(fs.copy_files, source, str(target), self.filesystem, fs.LocalFileSystem())
                if _hash_stream(target.open("rb")) != file.sha256:
                    raise CheckpointError(
                        f"{source} changed while it was read.", "Run the same command again."
                    )

    def discard_after(self, step: int) -> None:
        """Remove what lies beyond the step that a run continues from: damaged or incomplete."""
        for directory in self._directories():
            if int(directory.rsplit("-", 1)[1]) > step:
                self._discard(directory)

    def _upload(self, folder: Path, directory: str) -> list[CheckpointFile]:
        files = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            target = f"{directory}/{name}"
            retry(self.filesystem.create_dir, target.rsplit("/", 1)[0], recursive=True)
            retry(fs.copy_files, str(path), target, fs.LocalFileSystem(), self.filesystem)
            files.append(CheckpointFile(name, path.stat().st_size, _hash_stream(path.open("rb"))))
        return files

    def _write_manifest(self, checkpoint: Checkpoint) -> None:
        content = {
            "step": checkpoint.step,
            "meta": checkpoint.meta,
            "files": [asdict(file) for file in checkpoint.files],
        }
        content["sha256"] = _hash_json(content)
        target = f"{checkpoint.directory}/{MANIFEST}"
        retry(storage.write_text, self.filesystem, target, json.dumps(content, indent=1))

    def _read_manifest(self, directory: str) -> Checkpoint:
        path = f"{directory}/{MANIFEST}"
        if retry(self.filesystem.get_file_info, path).type != fs.FileType.File:
            raise _damaged(directory, f"{MANIFEST} is missing; it was not completed")
        text = retry(self._read, path)
        try:
            content = json.loads(text)
            sha256 = content.pop("sha256")
            files = tuple(CheckpointFile(**file) for file in content["files"])
            checkpoint = Checkpoint(content["step"], directory, content["meta"], files)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _damaged(directory, f"{MANIFEST} is not readable") from None
        if sha256 != _hash_json(content):
            raise _damaged(directory, f"{MANIFEST} does not match its SHA-256")
        return checkpoint

    def _read(self, path: str) -> bytes:
        with self.filesystem.open_input_stream(path) as stream:
            return stream.read()

    def _verify(self, checkpoint: Checkpoint) -> None:
        for file in checkpoint.files:
            path = f"{checkpoint.directory}/{file.name}"
            info = retry(self.filesystem.get_file_info, path)
            if info.type != fs.FileType.File:
                damage = "is missing"
            elif info.size != file.num_bytes:
                damage = f"has {info.size} bytes instead of {file.num_bytes}"
            elif retry(self._hash, path) != file.sha256:
                damage = "does not match its SHA-256"
            else:
                continue
            raise _damaged(checkpoint.directory, f"{file.name} {damage}")

    def _hash(self, path: str) -> str:
        return _hash_stream(self.filesystem.open_input_stream(path))

    def _directories(self) -> list[str]:
        selector = fs.FileSelector(self.root, allow_not_found=True)
        return [
            info.path
            for info in retry(self.filesystem.get_file_info, selector)
            if info.type == fs.FileType.Directory and info.base_name.startswith("step-")
        ]

    def _remove_all_but(self, keep: int) -> None:
        """Remove what is older than the newest `keep` that have a manifest."""
        num_complete = 0
        for directory in sorted(self._directories(), reverse=True):
            if num_complete == keep:
                self._discard(directory)
            manifest = retry(self.filesystem.get_file_info, f"{directory}/{MANIFEST}")
            num_complete += manifest.type == fs.FileType.File

    def _discard(self, directory: str) -> None:
        """Remove a checkpoint, its manifest first, so that it is never half there."""
        try:
            manifest = f"{directory}/{MANIFEST}"
            if retry(self.filesystem.get_file_info, manifest).type == fs.FileType.File:
                self.filesystem.delete_file(manifest)
            if retry(self.filesystem.get_file_info, directory).type == fs.FileType.Directory:
                self.filesystem.delete_dir(directory)
        except OSError as error:
            _log.warning("%s could not be removed: %s", directory, error)


def _damaged(directory: str, damage: str) -> CheckpointError:
    return CheckpointError(
        f"Checkpoint {directory} is damaged: {damage}.", "The one before it is used."
    )


def _hash_json(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _hash_stream(stream: Any) -> str:
    digest = hashlib.sha256()
    with stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
