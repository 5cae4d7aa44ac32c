"""Where real SQuAD lies: benchmarks take it where it is at hand, else the embedded questions."""

from __future__ import annotations

import os
from pathlib import Path

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "squad"
REAL_SQUAD = Path(os.environ.get("QA_SQUAD_DIR") or _BESIDE_THE_CHECKOUT)


def with_real_squad(argv: list[str]) -> list[str]:
    """Add real SQuAD as the source, where it is at hand and the flags name no other."""
    if not REAL_SQUAD.is_dir() or "--data.source" in argv:
        return argv
    return ["--data.source", str(REAL_SQUAD), *argv]
