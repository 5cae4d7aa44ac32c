"""A vocabulary of the tokens that a corpus uses, and the tokenizer that goes with it.

The corpus becomes the same tokens as before; other words fall back to smaller pieces, down to
single characters or bytes, or to the unknown token.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_lib.adjust.architecture import changed
from qa_lib.adjust.plan import Indices
from qa_lib.errors import AdjustError
from qa_lib.models import positions_follow_padding
from qa_lib.windows.tokens import tokenise, untruncated

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

Scheme = dict[str, Any]  # a tokenizer.json


def used(tokenizer: PreTrainedTokenizerFast, texts: pa.StringArray, config: Any) -> Indices:
    """Return the tokens that must stay for these texts to become the same tokens, ascending.

    Special and added tokens stay, and every single character, byte or continuation character, so
    that no known word becomes unknown.

    Args:
        tokenizer: The model's.
        texts: The corpus.
        config: The model's configuration, whose special tokens stay too.

    Raises:
        AdjustError: The vocabulary of this kind of tokenizer cannot be shortened.
    """
    scheme = _scheme(tokenizer)
    with untruncated(tokenizer) as backend:
        found = set(np.unique(tokenise(backend, texts).ids).tolist())
    pieces = _pieces(scheme)
    found |= _floor(scheme["model"], pieces)
    if scheme["model"]["type"] == "BPE":
        found |= _intermediates(scheme["model"], [pieces[i] for i in found if i in pieces])
    found |= {token["id"] for token in scheme["added_tokens"]}
    found |= {id for ids in _special_ids(config).values() for id in ids}
    if positions_follow_padding(config):
        found |= set(range(config.pad_token_id + 1))  # positions are counted from its id
    if max(found) >= config.vocab_size:
        raise AdjustError(
            f"The tokenizer has a token {max(found)}, but the model's vocabulary ends at"
            f" {config.vocab_size - 1}.",
            "Leave out --adjust.vocabulary, or use the tokenizer that belongs to the model.",
        )
    return tuple(sorted(found))


def shorten(tokenizer: PreTrainedTokenizerFast, kept: Indices) -> PreTrainedTokenizerFast:
    """Return a tokenizer of the kept tokens, renumbered in their order.

    Raises:
        AdjustError: The tokenizer's class changes the shorter vocabulary, or a special token is not
            kept.
    """
    from transformers import AutoTokenizer

    scheme = _scheme(tokenizer)
    number = _numbers(kept, [token["id"] for token in scheme["added_tokens"]])
    scheme = _shortened(scheme, number)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        (Path(folder) / "tokenizer.json").write_text(json.dumps(scheme), "utf-8")
        short = AutoTokenizer.from_pretrained(folder)
    short.backend_tokenizer.no_truncation()
    short.backend_tokenizer.no_padding()
    expected = {token: number[i] for token, i in tokenizer.get_vocab().items() if i in number}
    if short.get_vocab() != expected:
        raise AdjustError(
            f"A {type(tokenizer).__name__} does not keep a shorter vocabulary as it is.",
            "Leave out --adjust.vocabulary.",
        )
    return short  # type: ignore[return-value]


def check(
    tokenizer: PreTrainedTokenizerFast,
    short: PreTrainedTokenizerFast,
    kept: Indices,
    texts: pa.StringArray,
) -> int:
    """Prove that texts become the same tokens at the same characters.

    Returns:
        Number of tokens compared.

    Raises:
        AdjustError: A text becomes other tokens.
    """
    with untruncated(tokenizer) as whole, untruncated(short) as shorter:
        one, other = tokenise(whole, texts), tokenise(shorter, texts)
    same = len(one.ids) == len(other.ids) and all(
        np.array_equal(*pair)
        for pair in (
            (one.ids, np.array(kept)[other.ids]),
            (one.start, other.start),
            (one.end, other.end),
            (one.offsets, other.offsets),
        )
    )
    if not same:
        raise AdjustError(
            "The shorter vocabulary failed its proof: the corpus becomes other tokens with it.",
            "Nothing was written. Leave out --adjust.vocabulary, and report this tokenizer.",
        )
    return len(one.ids)


def renumber(config: Any, kept: Indices) -> Any:
    """Return a configuration with the new ids of its special tokens.

    Raises:
        AdjustError: A special token is not kept.
    """
    special = _special_ids(config)
    number = _numbers(kept, [id for ids in special.values() for id in ids])
    values: dict[str, Any] = {}
    for key, ids in special.items():
        new = [number[id] for id in ids]
        values[key] = new if isinstance(getattr(config, key), list) else new[0]
    return changed(config, **values)


def _numbers(kept: Indices, special: list[int]) -> dict[int, int]:
    """Return the new id of each kept token, if the special ones are among them."""
    if not set(special) <= set(kept):
        raise AdjustError(
            "The plan removes special tokens, which every window needs.",
            "Replay a plan on the checkpoint that it was made for, unchanged.",
        )
    return {old: new for new, old in enumerate(kept)}


def _special_ids(config: Any) -> dict[str, list[int]]:
    """Return the token ids in a configuration by key, without those outside of the vocabulary."""
    found = {}
    for key, value in config.to_dict().items():
        ids = value if isinstance(value, list) else [value]
        if key.endswith("_token_id") and all(
            isinstance(id, int) and 0 <= id < config.vocab_size for id in ids
        ):
            found[key] = ids
    return found


def _scheme(tokenizer: PreTrainedTokenizerFast) -> Scheme:
    """Return the tokenizer as JSON, if its vocabulary can be shortened."""
    scheme: Scheme = json.loads(tokenizer.backend_tokenizer.to_str())
    model = scheme["model"]
    kind = model["type"]
    affixes = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")
    if kind == "BPE" and any(affixes):
        kind = "BPE with affixes"
    if kind not in ("WordPiece", "BPE", "Unigram"):
        raise AdjustError(
            f"The vocabulary of a {kind} tokenizer cannot be shortened.",
            "Leave out --adjust.vocabulary; WordPiece, BPE and Unigram tokenizers can be.",
        )
    return scheme


def _pieces(scheme: Scheme) -> dict[int, str]:
    """Return the tokens of the tokenizer's model by id; added tokens may be outside of it."""
    vocab = scheme["model"]["vocab"]
    if isinstance(vocab, list):  # (piece, score)
        return {id: piece for id, (piece, _) in enumerate(vocab)}
    return {id: piece for piece, id in vocab.items()}


def _floor(model: Scheme, pieces: Mapping[int, str]) -> set[int]:
    """Return the fallback of every text: single characters and bytes, and the unknown token."""
    prefix = model.get("continuing_subword_prefix") or ""
    found = {
        id
        for id, piece in pieces.items()
        if len(piece.removeprefix(prefix)) == 1
        or piece == model.get("unk_token")
        or (model.get("byte_fallback") and piece.startswith("<0x"))
    }
    if model["type"] == "Unigram":
        # The score of an unknown character is relative to the lowest one.
        scores = [score for _, score in model["vocab"]]
        found |= {scores.index(min(scores)), model["unk_id"]} - {None}
    return found


def _intermediates(model: Scheme, tokens: Iterable[str]) -> set[int]:
    """Return the tokens that merges pass through on the way to the given ones.

    They do not depend on the text around a token: merges apply by rank, and none crosses the
    token's ends, or it would not be a token. So the merges between kept tokens, in their order,
    make the same tokens again.
    """
    ranks = {pair: rank for rank, pair in enumerate(_pairs(model))}
    found = set()
    for token in tokens:
        parts = list(token)
        while len(parts) > 1:
            pairs = list(zip(parts, parts[1:], strict=False))
            place = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)))
            if pairs[place] not in ranks:
                break
            parts[place : place + 2] = ["".join(pairs[place])]
            found.add(parts[place])
    return {model["vocab"][part] for part in found if part in model["vocab"]}


def _pairs(model: Scheme) -> list[tuple[str, str]]:
    """Return the merges by rank; older files write a pair as one string."""
    return [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in model["merges"]]


def _shortened(scheme: Scheme, number: Mapping[int, int]) -> Scheme:
    """Return a tokenizer's JSON with the tokens of `number` only."""
    model = dict(scheme["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [entry for id, entry in enumerate(model["vocab"]) if id in number]
        model["unk_id"] = None if model["unk_id"] is None else number[model["unk_id"]]
    else:
        vocab = model["vocab"]
        model["vocab"] = {token: number[id] for token, id in vocab.items() if id in number}
    if model["type"] == "BPE":
        kept = model["vocab"]
        model["merges"] = [
            list(pair)
            for pair in _pairs(model)
            if all(part in kept for part in (*pair, "".join(pair)))
        ]
    return scheme | {
        "model": model,
        "added_tokens": [token | {"id": number[token["id"]]} for token in scheme["added_tokens"]],
        "post_processor": _renumbered(scheme["post_processor"], number),
        "padding": None,
        "truncation": None,
    }


def _renumbered(part: Any, number: Mapping[int, int]) -> Any:
    """Renumber a post-processor's special tokens: lists `ids`, pairs `sep` and `cls`."""
    if isinstance(part, list):
        return [_renumbered(element, number) for element in part]
    if not isinstance(part, dict):
        return part
    new = {key: _renumbered(value, number) for key, value in part.items()}
    if "ids" in part:
        new["ids"] = [number[id] for id in part["ids"]]
    for key in ("sep", "cls"):
        if isinstance(part.get(key), list):
            new[key] = [part[key][0], number[part[key][1]]]
    return new
