"""The search's journal, from which its state is restored after a kill.

`search.jsonl` in the run folder holds one line per event: the identity of the search (the first
line), latencies measured, sizes scored, settings proposed, rungs finished, trials crashed and
retried, whole models timed, chosen sizes fitted to their speed, recoveries. Only the driver writes
it; a rung counts once its line is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from qa_lib.adjust import Sizes
from qa_lib.errors import CheckpointError
from qa_lib.runs import storage
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search.halving import Outcome, Trial
from qa_lib.search.latency_model import LatencyModel
from qa_lib.search.latency_table import Entry
from qa_lib.search.space import Setting

JOURNAL = "search.jsonl"
TARGET = "--search.target"  # in the identity: what it comes to
Measure = Literal["divergence", "agreement"]


class Journal:
    """The trials of a search, in memory and in the run folder.

    Attributes:
        trials: By number.
        entries: The latency table, or the ranked candidates.
        scores: One-shot divergences and agreements so far, by sizes.
        latency: The latency model that candidates are enumerated by; None before.
        milliseconds: Of whole models, measured side by side, by number of the trial.
        fitted: By speed asked for, the trial chosen, the sizes that have the speed, and the
            measured speed-up with its lowest and highest values.
        recoveries: By speed asked for (0: of drawn sizes), the trial that is recovered, by which
            settings of the training, and whether it is done.
    """

    def __init__(self, run: RunFolder) -> None:
        """Attach to a run and read the events of an earlier search there."""
        self.trials: list[Trial] = []
        self.entries: list[Entry] = []
        self.scores: dict[Measure, dict[Sizes, float]] = {"divergence": {}, "agreement": {}}
        self.latency: LatencyModel | None = None
        self.milliseconds: dict[int, float] = {}
        self.fitted: dict[float, tuple[int, Sizes, list[float]]] = {}
        self.recoveries: dict[float, tuple[int, dict[str, Any], bool]] = {}
        self._identity: dict[str, Any] | None = None
        self._name = run.url(JOURNAL)
        self._log = storage.LineLog(run.filesystem, run.at(JOURNAL))
        for event in self._log.read():
            self._apply(event)

    def begin(self, identity: dict[str, Any]) -> None:
        """Record the identity of the search, or check that it has not changed.

        What an earlier version did not record is not compared.

        Args:
            identity: Settings by flag that the trials' results depend on, and the parent's hash.

        Raises:
            CheckpointError: The search was begun with other settings.
        """
        identity = json.loads(json.dumps(identity))
        if self._identity is None:
            self._add({"event": "begun", "identity": identity})
            return
        known = {key: value for key, value in self._identity.items() if key in identity}
        if known.get(TARGET, "") is None:  # it recorded the flag, not the device that trained
            del known[TARGET]
        if len(known) < len(identity):
            print(
                f"note: {self._name} was begun by an earlier version, which recorded fewer"
                " settings: only those are compared.",
                file=sys.stderr,
            )
        changed = [key for key in known if known[key] != identity[key]]
        if changed:
            now, then = (
                ", ".join(f"{key} {values[key]}" for key in changed) for values in (identity, known)
            )
            raise CheckpointError(
                f"{self._name} was begun with {then}, not {now}.",
                f"Resume with {then}, or start a new run.",
            )

    def measured(self, entries: Sequence[Entry]) -> None:
        """Record the latency table, which a resumed search uses again."""
        self._add({"event": "measured", "entries": [entry.row() for entry in entries]})

    def modelled(self, latency: LatencyModel) -> None:
        """Record the latency model, which a resumed search uses again."""
        self._add({"event": "modelled", "latency": latency.row()})

    def scored(self, measure: Measure, sizes: Sequence[Sizes], scores: Sequence[float]) -> None:
        """Record one-shot scores, which a resumed search does not compute again."""
        rows = [asdict(one) for one in sizes]
        event = {"event": "scored", "measure": measure, "sizes": rows}
        self._add(event | {"scores": list(scores)})

    def timed(self, milliseconds: Mapping[int, float]) -> None:
        """Record how long whole models take; what was measured with others before is forgotten."""
        self._add({"event": "timed", "milliseconds": list(milliseconds.items())})

    def fit(self, asked: float, number: int, sizes: Sizes, speedup: Sequence[float]) -> None:
        """Record the sizes of a trial that have a speed, and their measured speed-up."""
        event = {"event": "fitted", "asked": asked, "number": number, "sizes": asdict(sizes)}
        self._add(event | {"speedup": list(speedup)})

    def recovery(self, asked: float, number: int, train: dict[str, Any], *, is_done: bool) -> None:
        """Record that a trial's model is being recovered in full, or has been."""
        event = {"event": "recovery", "asked": asked, "number": number, "train": train}
        self._add(event | {"is_done": is_done})

    def proposed(self, setting: Setting) -> Trial:
        """Add a trial."""
        self._add({"event": "proposed", "setting": setting.to_dict()})
        return self.trials[-1]

    def finished(self, number: int, rung: int, outcome: Outcome) -> None:
        """Record the outcome of a rung; a second one for the same rung is ignored."""
        if self.trials[number].rung < rung:
            event = {"event": "finished", "number": number, "rung": rung}
            self._add(event | {"outcome": asdict(outcome)})

    def crashed(self, number: int, error: str) -> None:
        """Record why a trial ended early."""
        self._add({"event": "crashed", "number": number, "error": error})

    def retry(self) -> None:
        """Let trials that have crashed go on: a full disk or a lost machine may be mended since."""
        for trial in self.trials:
            if trial.error is not None:
                self._add({"event": "retried", "number": trial.number})

    def _add(self, event: dict[str, Any]) -> None:
        self._apply(event)
        self._log.append(event)
        self._log.flush()

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "begun":
            self._identity = event["identity"]
        elif kind == "measured":
            self.entries = [Entry.from_row(row) for row in event["entries"]]
        elif kind == "modelled":
            self.latency = LatencyModel.from_row(event["latency"])
        elif kind == "scored":
            scored = [Sizes.from_dict(values) for values in event["sizes"]]
            self.scores[event["measure"]].update(zip(scored, event["scores"], strict=True))
        elif kind == "timed":
            self.milliseconds = dict(event["milliseconds"])
        elif kind == "fitted":
            sizes = Sizes.from_dict(event["sizes"])
            self.fitted[event["asked"]] = event["number"], sizes, event["speedup"]
        elif kind == "recovery":
            told = event["number"], event["train"], event["is_done"]
            self.recoveries[event["asked"]] = told
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
                    asked=entry.asked,
                    divergence=entry.divergence,
                )
            )
        elif kind == "finished":
            self.trials[event["number"]].outcomes.append(Outcome(**event["outcome"]))
        else:  # crashed, or retried since
            self.trials[event["number"]].error = event.get("error")
