"""Words that name a split, in names of files, folders, the hub's splits, parts of documents."""

from __future__ import annotations

import re

SPLIT_NAMES = {
    "train": (("train",),),
    "eval": (("dev", "validation", "val", "valid"), ("eval",), ("test",)),
}
"""Names of each split, those that are looked for first in front."""
_KNOWN = {word for groups in SPLIT_NAMES.values() for group in groups for word in group}
_LONGER = {"evaluation": "eval", "evaluate": "eval", "testing": "test", "validate": "validation"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # squadTrain is two
_OTHER = re.compile(r"(con|re)?strain|trainer|trained|device|developer")


def split_in(name: str) -> str | None:
    """Return the word of a name that names a split, as SPLIT_NAMES spells it; else None."""
    for word in map(str.lower, _WORD.findall(name)):
        word = re.sub("(set|data|split)$", "", word)
        word = _LONGER.get(word, word)
        if word in _KNOWN:
            return str(word)
        for each in ("train", "dev", "validation"):  # such as trainset, devel and squadtrain
            if (word.startswith(each) or word.endswith(each)) and not _OTHER.match(word):
                return each
    return None
