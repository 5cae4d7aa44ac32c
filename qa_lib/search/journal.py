"""The search's memory: a file of events, from which everything can be told after any kill.

`search.jsonl` in the run folder holds a line for each: what the search is of (the first line), each
setting that was proposed, each rung that finished, each trial that crashed. One process writes it,
the driver; a rung counts once its line is there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from qa_lib.errors import CheckpointError
from qa_lib.runs import storage
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search.halving import Outcome, Trial
from qa_lib.search.latency_table import Entry
from qa_lib.search.space import Setting

JOURNAL = "search.jsonl"


class Journal:
    """The trials of a search, in memory and in the run folder.

    Attributes:
        trials: By number.
        entries: The latency table.
    """

    def __init__(self, run: RunFolder) -> None:
        """Attach to a run, and read what a search before has left there."""
        self.trials: list[Trial] = []
        self.entries: list[Entry] = []
        self._identity: dict[str, Any] | None = None
        self._name = run.url(JOURNAL)
        self._log = storage.LineLog(run.filesystem, f"{run.root}/{JOURNAL}")
        for line in run.read_text(JOURNAL).splitlines() if run.exists(JOURNAL) else []:
            with suppress(json.JSONDecodeError):  # a line that a kill cut short
                self._apply(json.loads(line))

    def begin(self, identity: dict[str, Any]) -> None:
        """Say what the search is of, or check that it is still the same.

        Args:
            identity: Settings by flag that the trials' figures depend on, and the parent's hash.

        Raises:
            CheckpointError: It was begun with others.
        """
        identity = json.loads(json.dumps(identity))
        if self._identity is None:
            self._add({"event": "begun", "identity": identity})
            return
        changed = [key for key in identity if self._identity.get(key) != identity[key]]
        if changed:
            now, then = (
                ", ".join(f"{key} {values.get(key)}" for key in changed)
                for values in (identity, self._identity)
            )
            raise CheckpointError(
                f"{self._name} was begun with {then}, not {now}.",
                f"Resume with {then}, or start a new run.",
            )

    def measured(self, entries: Sequence[Entry]) -> None:
        """Keep the latency table: a resumed search judges by the same one."""
        self._add({"event": "measured", "entries": [entry.row() for entry in entries]})

    def proposed(self, setting: Setting) -> Trial:
        """Add a trial."""
        self._add({"event": "proposed", "setting": setting.to_dict()})
        return self.trials[-1]

    def finished(self, number: int, rung: int, outcome: Outcome) -> None:
        """Add what a rung gave; a rung that is told of twice counts once."""
        if self.trials[number].rung < rung:
            event = {"event": "finished", "number": number, "rung": rung}
            self._add(event | {"outcome": asdict(outcome)})

    def crashed(self, number: int, error: str) -> None:
        """Note why a trial will not go on."""
        self._add({"event": "crashed", "number": number, "error": error})

    def _add(self, event: dict[str, Any]) -> None:
        self._apply(event)
        self._log.append(json.dumps(event) + "\n")
        self._log.flush()

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "begun":
            self._identity = event["identity"]
        elif kind == "measured":
            self.entries = [Entry.from_row(row) for row in event["entries"]]
        elif kind == "proposed":
            setting = Setting.from_dict(event["setting"])
            entry = next(each for each in self.entries if each.sizes == setting.sizes)
            self.trials.append(
                Trial(
                    number=len(self.trials),
                    setting=setting,
                    latency_ms=entry.latency_ms,
                    speedup=entry.speedup,
                    num_parameters=entry.num_parameters,
                )
            )
        elif kind == "finished":
            self.trials[event["number"]].outcomes.append(Outcome(**event["outcome"]))
        else:
            self.trials[event["number"]].error = event["error"]
