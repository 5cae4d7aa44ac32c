"""Try every family of question-answering models of transformers, and write the table of them.

    python -m scripts.families            # writes docs/reference/families.md
    python -m scripts.families bert mpt   # prints the outcome of these

Of each family, a tiny random model is saved, loaded, trained for a step, evaluated, and asked at
its maximum length, alone and in a batch, by the code that the jobs run, in this process.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from qa_lib import models, windows  # noqa: E402  (found through the line above)
from qa_lib.errors import UserError  # noqa: E402
from qa_lib.models.families import UNSUPPORTED  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "families.md"
OPENING = """\
# Model families

<!-- Written by `python -m scripts.families`, which tries each of them. -->

Every family that the installed transformers has for extractive question answering. Of those that
work, a tiny random model was trained for a step, evaluated, and asked at its maximum length, alone
and in a batch. A model of another family is refused by name before anything starts, and so is a
checkpoint without a fast tokenizer. `make adjust` takes fewer families: see the guide.

"Padding moves its scores": a convolution, hashing, routing or sparse blocks that the attention mask
does not reach, so that a score depends a little on what a window is batched with.

| family | works | longest window | remark |
|---|---|---|---|
"""
LONG_OPENING = """
## Long windows

The same with windows of thousands of tokens: a step was trained, and a context that fills more than
one of them was answered.

| family | window | works |
|---|---|---|
"""
LONG = "The bridge was built by Ann Lee in 1890 and the river runs below it . " * 12
MOST_DIFFERENCE = 1e-3  # of a logit, between a window alone and one in a batch
_LENGTH = 64  # positions of the tiny models
_WIDTHS = {
    "hidden_size": 32, "d_model": 32, "emb_dim": 32, "dim": 32, "n_embd": 32, "embedding_size": 32,
    "num_hidden_layers": 2, "encoder_layers": 2, "decoder_layers": 2, "num_layers": 2,
    "num_decoder_layers": 2, "n_layers": 2, "n_layer": 2,
    "num_attention_heads": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "num_heads": 4, "n_heads": 4, "n_head": 4, "num_key_value_heads": 2, "head_dim": 8,
    "intermediate_size": 48, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "d_ff": 48,
    "hidden_dim": 48, "d_inner": 48, "ffn_dim": 48, "moe_intermediate_size": 48,
    "max_position_embeddings": _LENGTH, "max_encoder_position_embeddings": _LENGTH,
    "max_decoder_position_embeddings": _LENGTH, "n_positions": _LENGTH, "max_seq_len": _LENGTH,
    "entity_vocab_size": 10, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2,
}  # fmt: skip
_OWN: dict[str, dict[str, Any]] = {  # what a family's configuration demands beside
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "longformer": {"attention_window": [16, 16]},
    "led": {"attention_window": [16, 16]},
    "reformer": {
        "axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 8], "attention_head_size": 8,
        "feed_forward_size": 48, "attn_layers": ["local", "lsh"], "is_decoder": False,
        "lsh_attn_chunk_length": 16, "local_attn_chunk_length": 16, "num_buckets": 4,
    },
    "big_bird": {"block_size": 4, "num_random_blocks": 1},
    "bigbird_pegasus": {"block_size": 4, "num_random_blocks": 1},
    "qwen3_next": {"num_hidden_layers": 4},
    "t5": {"decoder_start_token_id": 0}, "mt5": {"decoder_start_token_id": 0},
    "umt5": {"decoder_start_token_id": 0},
    "mobilebert": {"intra_bottleneck_size": 16, "true_hidden_size": 16, "embedding_size": 16},
    "deberta-v2": {"relative_attention": True, "pos_att_type": "p2c|c2p", "position_buckets": 8},
    "nystromformer": {"num_landmarks": _LENGTH, "segment_means_seq_len": _LENGTH},
    "xmod": {"default_language": "en_XX"},
    "modernbert": {"local_attention": 8, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2},
}  # fmt: skip


_LONG: dict[str, tuple[int, dict[str, Any]]] = {  # tokens of a window, and what they demand
    "big_bird": (4096, {"block_size": 64, "num_random_blocks": 3}),
    "longformer": (4096, {"attention_window": [64, 64]}),
    "modernbert": (8192, {"local_attention": 128}),
}


class Outcome(NamedTuple):
    """What came of a family: why it does not work, if so, its longest window, and a remark."""

    family: str
    problem: str | None
    longest: str = ""
    remark: str = ""


def families() -> list[str]:
    """Return the families that the installed transformers has a question-answering form of."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES

    return sorted(MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES)


def configured(family: str, vocabulary_size: int, long: bool = False) -> Any:
    """Return a tiny configuration of a family, `long` with the positions of `_LONG`."""
    from transformers import CONFIG_MAPPING

    known = CONFIG_MAPPING[family]
    defaults = known()
    names = {*defaults.to_dict(), *getattr(known, "attribute_map", {})}
    fields: dict[str, Any] = {key: value for key, value in _WIDTHS.items() if key in names}
    own = {"vocab_size": vocabulary_size, "pad_token_id": 1, "sep_token_id": 3, "eos_token_id": 3}
    fields |= own | _OWN.get(family, {})
    if long:
        length, more = _LONG[family]
        fields |= {key: length + 2 for key, value in fields.items() if value == _LENGTH} | more
    return known(**fields)


def tokenizer(*, follows_padding: bool) -> Any:
    """Return a small tokenizer in the layout of RoBERTa, or of BERT."""
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import PreTrainedTokenizerFast

    words = sorted({*LONG.split(), "Who", "built", "it", "?"})
    pieces = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", *words]
    backend = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = ("[SEP]", 3), ("[CLS]", 2)
    roberta = processors.RobertaProcessing(*ends, add_prefix_space=False)
    backend.post_processor = roberta if follows_padding else processors.BertProcessing(*ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "sep_token": "[SEP]", "cls_token": "[CLS]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=inputs, **names)


def byte_pairs() -> Any:
    """Return a small tokenizer as Qwen2's class reads it: without special tokens in a pair."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    alphabet = ["<|endoftext|>", "[PAD]", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(BPE(vocab={each: i for i, each in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    names = {"pad_token": "[PAD]", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def try_family(family: str, long: bool = False) -> Outcome:
    """Take a tiny random model of a family through what the jobs do."""
    import torch

    if family in UNSUPPORTED:
        return Outcome(family, UNSUPPORTED[family])
    torch.manual_seed(0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            config = configured(family, 300, long)
            follows = models.positions_follow_padding(config)
            own = byte_pairs() if family == "qwen2" else tokenizer(follows_padding=follows)
            model = models.build(config)
            for name, weight in model.named_parameters():
                if weight.ndim > 1 and "norm" not in name.lower():
                    torch.nn.init.normal_(weight, std=0.2)
            models.save(model, own, folder)
            longest = _longest(folder)
            window = min(longest or _LENGTH, _LONG[family][0] if long else _LENGTH)
            _train(folder, window)
            difference = _ask(folder, window)
    except UserError as error:
        return Outcome(family, error.problem)
    except Exception as error:  # whatever the family's code raises
        return Outcome(family, f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}")
    remark = "padding moves its scores" if difference > MOST_DIFFERENCE else ""
    return Outcome(family, None, _bound(config, longest), remark)


def _longest(folder: str) -> int | None:
    return models.maximum_length(models.load_config(folder))


def _bound(config: Any, longest: int | None) -> str:
    """Say how the longest window follows from a configuration."""
    if longest is None:
        return "unbounded"
    less = _LENGTH - longest
    return "its positions" + (f" less {less}" if less else "")


def _text(longest: int) -> str:
    """Return a context of more than a window."""
    return LONG * -(-longest * 5 // (4 * len(LONG.split())))


def _train(folder: str, longest: int) -> None:
    """Take a step, as a rank of the train job does, and check that every gradient is finite."""
    import pyarrow as pa
    import torch

    model, own = models.load(folder).train(), models.load_tokenizer(folder)
    answers = [{"text": ["Ann Lee"], "answer_start": [24]}] * 2
    rows = {
        "question": ["Who built it ?"] * 2,
        "context": [_text(longest), LONG[:60]],
        "answers": answers,
    }
    spec = windows.WindowSpec(longest, longest // 3)
    table = windows.build(pa.table(rows), own, spec).table
    batch = windows.collate(table, windows.PadSpec.of(own, longest))
    starts, ends = batch.pop("start_positions"), batch.pop("end_positions")
    output = model(**batch)
    if output.start_logits.shape != batch["input_ids"].shape:
        raise ValueError(f"logits of shape {tuple(output.start_logits.shape)}")
    padding = batch["attention_mask"] == 0
    loss = sum(
        torch.nn.functional.cross_entropy(logits.masked_fill(padding, -1e4), places)
        for logits, places in ((output.start_logits, starts), (output.end_logits, ends))
    )
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    if not all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None):
        raise ValueError("a gradient is not finite")
    models.save(model, own, folder)


def _ask(folder: str, longest: int) -> float:
    """Answer at the maximum length; return how far logits in a batch are from those alone."""
    import numpy as np
    import pyarrow as pa

    from qa_lib.serving import Answerer

    answerer = Answerer(folder, batch_size=8, precision="fp32")
    texts = [_text(longest), LONG[:40], LONG[:70]]
    answerer(["Who built it ?"] * 3, texts, max_seq_len=longest, doc_stride=8)
    forward = answerer._forward
    rows = pa.table({"question": ["Who built it ?"] * 3, "context": texts})
    spec = windows.WindowSpec(longest, 8)
    table = windows.build(rows, forward.tokenizer, spec, labels=False).table
    logits = []
    for size in (1, 8):
        forward.batch_size = size
        parts = [
            start[start > -np.inf]  # of real tokens, window after window
            for _, start, _ in forward(table)
        ]
        logits.append(np.concatenate(parts))
    return float(np.abs(logits[0] - logits[1]).max())


def tried_long() -> list[Outcome]:
    """Try the families that read thousands of tokens at once."""
    return [try_family(family, long=True) for family in _LONG]


def page(outcomes: Iterable[Outcome], long: Iterable[Outcome]) -> str:
    """Return the table in Markdown."""
    lines = (
        f"| {family} | {'yes' if problem is None else 'no'} | {longest or '-'} |"
        f" {problem or remark or '-'} |\n"
        for family, problem, longest, remark in outcomes
    )
    rows = (
        f"| {family} | {_LONG[family][0]:,} tokens | {problem or 'yes'} |\n"
        for family, problem, _, _ in long
    )
    return OPENING + "".join(lines) + LONG_OPENING + "".join(rows)


def main(chosen: list[str]) -> None:
    """Try the families, and write the page, or print the outcomes of those that are named."""
    import torch

    torch.set_num_threads(1)
    outcomes = [try_family(family) for family in chosen or families()]
    if chosen:
        print("\n".join(map(str, outcomes)))
    else:
        PAGE.write_text(page(outcomes, tried_long()), encoding="utf-8")
        print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
