"""Checkpoints that are complete or absent.

A checkpoint is a folder `step-000000NNN` with the files of every rank and, written last, a
manifest. Without a manifest it is incomplete; with files that do not match it is damaged: the
damage is logged, and the checkpoint before it is used. No file of a checkpoint is opened before its
hash has matched, and a file that the manifest does not list is never opened.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from qa_lib.errors import CheckpointError
from qa_lib.runs import manifest
from qa_lib.runs.folder import Damaged, Folder, StoredFile

_log = logging.getLogger(__name__)


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
    files: tuple[StoredFile, ...]


class CheckpointStore:
    """The checkpoints of one run, on a local disk or at a URL.

    Attributes:
        folder: Holds them.
        problem: Why the last `write` has stored nothing, the same on every rank, or "".
    """

    def __init__(self, location: str) -> None:
        """Attach to the folder at `location`, a path or a URL; it need not exist yet."""
        self.folder = Folder(location)
        self.problem = ""

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
            The checkpoint, or None if a rank could not write (full disk, storage away): training
            can go on, and the last good checkpoint is untouched.
        """
        outcome = self.put(step, folder)
        return self.conclude(step, outcome, meta, is_main=is_main, gather=gather, keep=keep)

    def put(self, step: int, folder: Path) -> list[StoredFile] | str:
        """Store one rank's files, without waiting for the others; `conclude` makes them count.

        Returns:
            What is stored, or what prevents it.
        """
        try:
            return self.folder.child(_name(step)).put_folder(folder)
        except OSError as error:
            return str(error)

    def conclude(
        self,
        step: int,
        outcome: list[StoredFile] | str,
        meta: dict[str, Any],
        *,
        is_main: bool,
        gather: Callable[[Any], list[Any]],
        keep: int = 2,
    ) -> Checkpoint | None:
        """Make a checkpoint of what every rank has stored; called by all, as `write` is.

        Args:
            step: Optimizer steps taken.
            outcome: Of this rank's `put`; a text says what has prevented it.
            meta: See `write`.
            is_main: See `write`.
            gather: See `write`.
            keep: See `write`.

        Returns:
            See `write`.
        """
        target = self.folder.child(_name(step))
        outcomes = gather(outcome)
        problems = sorted({outcome for outcome in outcomes if isinstance(outcome, str)})
        files = () if problems else tuple(file for outcome in outcomes for file in outcome)
        if is_main and not problems:
            try:
                manifest.write(target, files, step=step, meta=meta)
            except OSError as error:
                problems = [str(error)]
        if is_main and not problems:
            try:
                self._remove_all_but(keep)
            except OSError as error:  # the checkpoint is complete all the same
                _log.warning("Older checkpoints stay: %s", error)
        # The main rank alone knows whether the manifest was written.
        problems = gather(problems)[0]
        self.problem = "; ".join(problems)
        if not problems:
            return Checkpoint(step, target.root, meta, files)
        if is_main:
            _log.warning("No checkpoint at step %d: %s", step, self.problem)
            self._discard(_name(step))
        return None

    def newest_good(self, warn: Callable[[str], None] = _log.warning) -> Checkpoint | None:
        """Return the newest checkpoint whose every file matches its manifest, or None.

        Args:
            warn: Receives one line for each damaged checkpoint that is passed over.

        Raises:
            OSError: The storage stays away. That is no damage: continuing from an older checkpoint
                would throw good steps away.
        """
        for name in reversed(self._names()):
            try:
                return self._verified(name)
            except CheckpointError as error:
                warn(error.problem)
        return None

    def holds_complete(self) -> bool:
        """Say whether a checkpoint was written to its end, whatever became of it since."""
        return any(self._is_complete(name) for name in self._names())

    def check_all(self) -> list[tuple[str, str]]:
        """Return every checkpoint's folder, oldest first, with what is wrong with it or ""."""
        outcomes = []
        for name in self._names():
            try:
                self._verified(name)
                problem = ""
            except CheckpointError as error:
                problem = error.problem
            outcomes.append((self.folder.at(name), problem))
        return outcomes

    def fetch(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Copy a checkpoint's files into a local folder.

        Args:
            checkpoint: What `newest_good` returned.
            folder: Where to; created where absent.

        Raises:
            CheckpointError: A file no longer matches the manifest.
        """
        source = self.folder.child(checkpoint.directory.rpartition("/")[2])
        for file in checkpoint.files:
            try:
                source.verify(file, copy_to=folder / file.name)
            except Damaged:
                raise CheckpointError(
                    f"{source.at(file.name)} changed while it was read.",
                    "Run the same command again.",
                ) from None

    def discard_after(self, step: int) -> None:
        """Remove the checkpoints beyond a step that a run continues from: they are damaged."""
        for name in self._names():
            if int(name.removeprefix("step-")) > step:
                self._discard(name)

    def _names(self) -> list[str]:
        """Return the folders' names, oldest first; copies under other names are the user's."""
        return [
            info.base_name
            for info in self.folder.entries()
            if info.type == fs.FileType.Directory and re.fullmatch(r"step-\d{9,}", info.base_name)
        ]

    def _verified(self, name: str) -> Checkpoint:
        """Read a checkpoint's manifest, and check every file that it lists."""
        folder = self.folder.child(name)
        try:
            written = manifest.read(folder)
            for file in written.files:
                folder.verify(file)
        except Damaged as damage:
            raise CheckpointError(
                f"Checkpoint {folder.root} is damaged: {damage}.", "The one before it is used."
            ) from None
        step, meta = written.fields["step"], written.fields["meta"]
        return Checkpoint(step, folder.root, meta, written.files)

    def _remove_all_but(self, keep: int) -> None:
        """Remove what is older than the newest `keep` that have a manifest."""
        num_complete = 0
        for name in reversed(self._names()):
            if num_complete == keep:
                self._discard(name)
            else:
                num_complete += self._is_complete(name)

    def _is_complete(self, name: str) -> bool:
        return self.folder.exists(f"{name}/{manifest.MANIFEST}")

    def _discard(self, name: str) -> None:
        """Remove a checkpoint, its manifest first, so that it is never half there."""
        try:
            self.folder.remove(f"{name}/{manifest.MANIFEST}")
            self.folder.remove(name)
        except OSError as error:
            _log.warning("%s could not be removed: %s", self.folder.at(name), error)


def _name(step: int) -> str:
    return f"step-{step:09d}"
