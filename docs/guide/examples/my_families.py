"""CamemBERT, whose modules have BERT's names, as a family that can be adjusted.

make adjust RUN=runs/mine ARGS="--adjust.num-layers 4 --adjust.families my_families.py"
"""

from qa_lib.adjust import Family

FAMILIES = {
    "camembert": Family(
        queries=("attention.self.query",),
        keys=("attention.self.key",),
        value="attention.self.value",
        output="attention.output.dense",
    )
}
