"""The report of a run: one HTML file, made from its folder alone, with everything inside it.

report.write(RunFolder("runs/mine", "report"))      # runs/mine/report.html
"""

from __future__ import annotations

import sys
import traceback

from qa_lib import pages, storage
from qa_lib.errors import ConfigError
from qa_lib.report import content
from qa_lib.report.facts import read
from qa_lib.run import RunFolder

__all__ = ["REPORT", "draw", "write"]

REPORT = "report.html"


def write(run: RunFolder) -> str:
    """Write report.html into a run folder, and return its path or URL.

    Args:
        run: Of any job; what its folder lacks, the report leaves out.

    Raises:
        ConfigError: The folder is no run's, its result.json is damaged, or it cannot be written.
    """
    scripts = [pages.plotly(), pages.script("report.js")]
    html = pages.render("report.html", scripts=scripts, **content.of(read(run)))
    try:
        run.write_text(REPORT, html)
    except OSError as error:
        raise ConfigError(
            f"{run.url(REPORT)} cannot be written: {storage.first_line(error)}",
            "Make room there, or copy the run folder to where this user may write.",
        ) from None
    return run.url(REPORT)


def draw(run: RunFolder) -> str:
    """Write the report at the end of a job, and return a line that says where it is.

    The run is finished, whatever happens here: a failure is told with its traceback, and no more.
    """
    try:
        return f"{write(run)} shows it"
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return (
            f"warning: {REPORT} could not be drawn ({storage.first_line(error)}); the run itself "
            f"is complete. `make report RUN={run.path}` tries again."
        )
