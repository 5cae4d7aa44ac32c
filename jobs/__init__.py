"""One declaration per job; run one with ``python -m jobs.NAME --recipe RECIPE``."""
