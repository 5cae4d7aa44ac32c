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
# Joined to another word, such as devel, trainset and squadtrain; devanagari is a script.
_JOINED = (
    ("train", re.compile(r"(?!(con|re)?strain|quatrain|train(er|ed|ee))(train.*|.*train)")),
    ("dev", re.compile(r"dev(s|el|elopment|test)?|.*dev")),
    ("validation", re.compile(r"validation.*|.*validation")),
)


def split_in(name: str) -> str | None:
    """Return the word of a name that names a split, as SPLIT_NAMES spells it; else None.

    A word that is the split's goes before one that is joined to another.
    """
    words = [re.sub("(set|data|split)$", "", word.lower()) for word in _WORD.findall(name)]
    words = [_LONGER.get(word, word) for word in words]
    joined = (split for word in words for split, form in _JOINED if form.fullmatch(word))
    return next((word for word in words if word in _KNOWN), next(joined, None))
