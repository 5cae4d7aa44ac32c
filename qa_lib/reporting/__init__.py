"""The report of a run: one HTML file, made from its folder alone, with everything inside it.

report.write(RunFolder("runs/mine", "report"))      # runs/mine/report.html
"""

from __future__ import annotations

import shlex
import sys
import traceback

from qa_lib.reporting import content, pages
from qa_lib.reporting.facts import read
from qa_lib.runs import storage
from qa_lib.runs.run_folder import RunFolder

__all__ = ["REPORT", "draw", "write"]

REPORT = "report.html"


def write(run: RunFolder) -> str:
    """Write report.html into a run folder, and return its path or URL.

    Args:
        run: Of any job; the report leaves out what its folder lacks.

    Raises:
        ConfigError: The folder is not a run's, its result.json is damaged, or the report cannot be
            written.
    """
    shown = content.of(read(run))
    scripts = pages.report_scripts(has_charts=bool(shown["charts"]))
    return pages.write(run, REPORT, pages.render("report.html", scripts=scripts, **shown))


def draw(run: RunFolder) -> str:
    """Write the report at the end of a job, and return a line that names it.

    The run is complete by then, so a failure prints its traceback and returns a warning.
    """
    try:
        return f"{write(run)} shows it"
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        command = shlex.join(["python", "-m", "jobs.report", run.path])
        return (
            f"warning: {REPORT} could not be drawn ({storage.first_line(error)}); the run itself "
            f"is complete. `{command}` tries again."
        )
