"""The console command: `qa JOB --flags` runs `jobs.JOB`, as `python -m jobs.JOB --flags` does.

`qa` lists the jobs; `eval "$(qa --completion)"` teaches bash their flags (zsh too, after
`autoload -U bashcompinit && bashcompinit`).
"""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
from pathlib import Path
from typing import NoReturn

from qa_lib.errors import EXIT_USER_ERROR

COMPLETION = """\
_qa() {{
    local words="{flags}"
    [ "$COMP_CWORD" = 1 ] && words="{jobs}"
    case "$2" in
        -*) COMPREPLY=($(compgen -W "$words" -- "$2")) ;;
        *) [ "$COMP_CWORD" = 1 ] && COMPREPLY=($(compgen -W "$words" -- "$2")) ;;
    esac
}}
complete -o default -F _qa qa"""


def jobs() -> dict[str, str]:
    """Return what every job does, by name; nothing is imported for it."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = text.partition("\n")[0]
    return found


def completion() -> str:
    """Return the shell code that completes jobs and flags."""
    from qa_lib.config import Settings
    from qa_lib.config.fields import settings_in

    flags = " ".join(setting.flag for setting in settings_in(Settings))
    return COMPLETION.format(flags=f"{flags} --help", jobs=" ".join(jobs()))


def main() -> NoReturn:
    """Run the job that the first word names."""
    name, known = sys.argv[1] if len(sys.argv) > 1 else "--help", jobs()
    if name in known:
        del sys.argv[1]
        runpy.run_module(f"jobs.{name}", run_name="__main__", alter_sys=True)
    elif name in ("--help", "-h"):
        print("usage: qa JOB [--flags]; qa JOB --help lists the flags\n")
        print("\n".join(f"  {job:<10}{what}" for job, what in known.items()))
    elif name == "--completion":
        print(completion())
    else:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Perhaps you meant {close[0]}." if close else ""
        print(f"error: {name!r} is no job.{hint}\n  `qa` lists them.", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    sys.exit(0)


if __name__ == "__main__":
    main()
