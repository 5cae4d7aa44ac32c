"""What every job's command does around its work: parse, dry-run, doctor, run folder, exit code.

Exit codes: 0 done; 2 the user can fix it (one message, no traceback); 130 interrupted; 1 a bug.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from jobs import _preview, _seeds
from qa_lib import config
from qa_lib.config import Settings, credentials
from qa_lib.errors import EXIT_USER_ERROR, ConfigError, ResourceError, UserError, causes
from qa_lib.machines import lean_imports, limits, ray_session
from qa_lib.runs import stop_signals, storage

if TYPE_CHECKING:
    from qa_lib.runs.run_folder import RunFolder

EXIT_BUG = 1
EXIT_INTERRUPTED = 130

_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for a command that was submitted as a job

# What the help of a job shows first of all, before the job's own.
_COMMON_FLAGS = (
    "recipe",
    "run_name",
    "storage",
    "resume",
    "dry_run",
    "seed",
    "model.name",
    "data.source",
    "data.train_limit",
    "data.eval_limit",
)

_FLAGS_OF_READERS = ("recipe", "storage", "dry_run", "model.name")  # of jobs without a run folder

# Keeps libraries from reporting usage and from printing about themselves, unless the user decided.
_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


@dataclass(frozen=True)
class Job:
    """The declaration of a job; the docstring of its module opens the help.

    The functions import torch, ray and transformers themselves, so that ``--help`` and wrong
    settings are answered before those load.

    Attributes:
        name: As in ``python -m jobs.NAME``.
        run: The work: `run(settings, folder)` writes sections of the result as they are there;
            without a run folder `run(settings)` prints what it finds.
        describe: What the job would do, as ``--dry-run`` prints it below the settings.
        summary: What a finished job prints, from its result and run folder.
        complete: Fills in settings that this job decides, before anything else.
        has_run_folder: Whether the job leaves a run folder.
        needs_doctor: Whether machine, cluster and storage are checked first; None: where there is
            a run folder.
        scores_answers: Whether it makes a model and ends with scores, which the doctor checks for.
        draws_report: Whether report.html is drawn at the end.
        reads_runs_of: Jobs whose newest run stands in where no model is named; none: none does.
        reads_unfinished: Whether such a run need not be done.
        first_groups: Groups of settings that the help shows first.
        first_flags: The settings of the job that matter most, which its help shows before those.
        positional: Flag that leading words of the command line belong to.
    """

    name: str
    run: Callable[..., Any]
    describe: Callable[[Settings], str | dict[str, Any]] | None = None
    summary: Callable[[dict[str, Any], RunFolder], str] | None = None
    complete: Callable[[Settings], Settings] | None = None
    has_run_folder: bool = True
    needs_doctor: Callable[[Settings], bool] | None = None
    scores_answers: bool = False
    draws_report: bool = False
    reads_runs_of: tuple[str, ...] = ()
    reads_unfinished: bool = False
    first_groups: tuple[str, ...] = ()
    first_flags: tuple[str, ...] = ()
    positional: str | None = None

    def main(self) -> NoReturn:
        """Run the command of this process to its exit code."""
        quiet_libraries()
        lean_imports.collect_rarely()
        ray_session.end_process(self.exit_code(owns_process=True))

    def exit_code(self, *, owns_process: bool = False) -> int:
        """Parse the command line, do the work, and return the exit code.

        Args:
            owns_process: As of `execute`.
        """

        def obey() -> None:
            settings = self.parse()
            # Every recipe names a model: only who names one in the command means it.
            if not config.is_given("model.name", positional=self.positional):
                settings = self._with_newest_run(settings)
            self.execute(settings, owns_process=owns_process)

        return exit_code(obey)

    def parse(self, argv: Sequence[str] | None = None) -> Settings:
        """Return the settings of a command line, by default of this process.

        Raises:
            ConfigError: With everything that is wrong in it.
        """
        common = _COMMON_FLAGS if self.has_run_folder else _FLAGS_OF_READERS
        return config.parse(
            self.name,
            argv,
            sys.modules[self.run.__module__].__doc__,
            first_groups=self.first_groups,
            first_flags=(*common, *self.first_flags) if self.first_flags else (),
            positional=self.positional,
        )

    def execute(self, settings: Settings, *, owns_process: bool = False) -> None:
        """Do the work that the settings ask for, or print what it would be.

        Args:
            settings: What to do.
            owns_process: Whether the process ends with the job: Ray may then begin to start before
                it is certain that it is needed.
        """
        lean_imports.spare_pandas()
        if self.complete is not None:
            settings = self.complete(settings)
        if settings.seeds > 1 and not self.scores_answers:
            raise ConfigError(
                f"jobs.{self.name} draws nothing at random: --seeds would repeat the same result.",
                "Leave --seeds away, or give it to a job that trains.",
            )
        if self.has_run_folder:
            from qa_lib.runs import run_names, tracking

            tracking.check(settings)
            if settings.seeds == 1:
                settings = run_names.decided(settings, self.name)
            self._check_names(settings)
        if settings.dry_run:
            self._preview(settings)
            return
        needs_doctor = self.needs_doctor or (lambda _: self.has_run_folder)
        if needs_doctor(settings):
            from qa_lib import doctor

            doctor.require(settings, scores_answers=self.scores_answers)
        if self.scores_answers:
            from qa_lib import training

            training.check_sources(settings)
            if owns_process:
                ray_session.begin_ray()
            if settings.overwrite or settings.seeds > 1:  # before a run makes room for another
                training.check_models(settings)
        if settings.seeds > 1:
            print(_seeds.run_all(settings, self.name, self._run_in_folder))
        elif self.has_run_folder:
            self._run_in_folder(settings)
        else:
            self.run(settings)

    def _with_newest_run(self, settings: Settings) -> Settings:
        """Return the settings with the newest run that fits as model, where none is named."""
        no_model = Settings().model.name
        if not self.reads_runs_of or settings.model.name != no_model or settings.predictions:
            return settings
        from qa_lib.runs.newest import newest_run

        name = newest_run(settings, self.reads_runs_of, finished=not self.reads_unfinished)
        if name is None:
            return settings
        print(f"note: no run is named; the newest is {name}", file=sys.stderr)
        model = settings.model.model_copy(update={"name": name})
        return settings.model_copy(update={"model": model})

    def _check_names(self, settings: Settings) -> None:
        """Refuse the names that opening the runs would refuse, before anything takes time."""
        from qa_lib.runs.run_folder import RunFolder

        if settings.seeds > 1:
            _seeds.settings_of(settings, self.name)
        else:
            RunFolder.check(settings, self.name)

    def _preview(self, settings: Settings) -> None:
        from qa_lib.runs.storage import to_json

        is_page = _preview.is_page(settings)
        if not is_page:
            print(settings.to_yaml())
        checked: dict[str, Any] = {}
        if self.scores_answers:
            from qa_lib import training

            checked = training.check_sources(settings)
            training.check_models(settings)
        if self.describe is not None or is_page:
            described = {} if self.describe is None else self.describe(settings)
            if not isinstance(described, str):
                described |= checked
                described = (
                    _preview.page(settings, self.name, described)
                    if is_page
                    else to_json(described, indent=2)
                )
            print(described)

    def _run_in_folder(self, settings: Settings) -> dict[str, Any]:
        """Do the work in a run folder, and return its result."""
        from qa_lib.runs import tracking
        from qa_lib.runs.run_folder import RunFolder

        with ExitStack() as tracked:  # until the report is drawn
            with RunFolder.open(settings, self.name) as folder:
                folder.tracker = tracked.enter_context(tracking.start(settings, folder))
                self.run(settings, folder)
                folder.write_result()
                if self.summary is not None:
                    print(self.summary(folder.result, folder))
            if self.draws_report:
                from qa_lib import reporting

                print(reporting.draw(folder))
        return folder.result


def quiet_libraries() -> None:
    """Set what libraries read from the environment, before they are imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if _SUBMITTED in os.environ:
        # Ray's supervisor reserves no CPU for the command and sets this to 1, which would leave one
        # thread for everything that the driver itself computes.
        os.environ.pop("OMP_NUM_THREADS", None)


def exit_code(work: Callable[[], int | None]) -> int:
    """Do the work of a command, and return its exit code; None from the work is 0.

    SIGTERM ends it as Ctrl-C does.
    """
    stop_signals.interrupt_on_stop()
    _outlive_readers_of_stderr()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # As stderr: an ASCII terminal ends no job.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return work() or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Who reads the output, such as `head`, has enough. Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BUG
    except Exception as error:
        cause = user_error(error) or limits.explain(error)
        if cause is None:
            traceback.print_exc()
            return EXIT_BUG
        # Not str(cause), which Ray replaces by the worker's traceback.
        message = credentials.redact(f"error: {cause.problem}\n  {cause.remedy}")
        print(message, file=sys.stderr)
        return EXIT_USER_ERROR


class _StandardError(io.FileIO):
    """Standard error that outlives its reader: a `tee` that Ctrl-C ends too ends no training."""

    def write(self, data: Any) -> int:
        """Write; once nobody reads it any more, this process's standard error goes nowhere."""
        try:
            return super().write(data)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return len(data)


def _outlive_readers_of_stderr() -> None:
    stream = sys.stderr
    if isinstance(stream, io.TextIOWrapper) and stream is sys.__stderr__:
        raw = _StandardError(stream.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True
        )


def user_error(error: BaseException) -> UserError | None:
    """Return the UserError behind an exception, which Ray may have wrapped, or None."""
    for cause in causes(error):
        if isinstance(cause, UserError):
            return cause
        if storage.is_full(cause):
            return ResourceError(
                f"What the job makes cannot be written: {storage.first_line(cause)}.",
                "Make room there; the same command with --resume --run-name NAME goes on.",
            )
    return None
