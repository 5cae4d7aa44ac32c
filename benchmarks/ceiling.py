"""The highest scores that labels allow: predictions cut where the labels are, scored like others.

    python -m benchmarks.ceiling [--keep FOLDER]  # FOLDER: where the files are left

Every window's logits are 1 at its label and 0 elsewhere. What is then lost was lost in reading, in
labels or in decoding, and no model can win it back. Beside SQuAD's development set ($QA_SQUAD_DIR,
see the README; else the embedded questions), files are made in the shape of COVID-QA, of whose
golds 28 % begin or end with white space, and in Thai, Hindi, Japanese and Korean, with tokenizers
of the kinds that models of these languages have, whose pieces are single characters or bytes.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from benchmarks._squad import REAL_SQUAD
from qa_lib import windows
from qa_lib.config import DataSettings, EvaluateSettings
from qa_lib.data import load_questions
from qa_lib.evaluation import languages, metrics, spans
from qa_lib.evaluation.answers import merge_spans
from qa_lib.models import load_tokenizer

SPEC = windows.WindowSpec(384, 128)
NUM_QUESTIONS = 300  # of each language
SHARE_OF_WHITE_SPACE = 0.28

# A sentence, the question that its slot answers, and what fills it.
SENTENCES: dict[languages.Language, list[tuple[str, str, list[str]]]] = {
    "th": [
        ("{}เป็นเมืองหลวงของประเทศนี้", "เมืองหลวงคือที่ใด", ["กรุงเทพมหานคร", "เวียงจันทน์", "ย่างกุ้ง"]),
        ("เขาเกิดในปีพ.ศ.{}ที่ริมแม่น้ำ", "เขาเกิดปีใด", ["2475", "๒๔๘๙", "2501"]),
        ("สะพานแห่งนี้ยาว{}เมตร", "สะพานยาวเท่าใด", ["1,250", "๘๐๐", "475.5"]),
        ("ผู้สร้างคือ{}ซึ่งเป็นวิศวกร", "ใครเป็นผู้สร้าง", ["นายสมชาย ใจดี", "พระยาอนุมานราชธน", "สุดา"]),
    ],
    "hi": [
        ("{} इस देश की राजधानी है।", "राजधानी कौन सी है?", ["नई दिल्ली", "काठमांडू", "ढाका"]),
        ("उनका जन्म {} में हुआ था।", "जन्म कब हुआ?", ["१९४७", "1869", "15 अगस्त 1950"]),
        ("यह पुल {} मीटर लंबा है।", "पुल कितना लंबा है?", ["१,२५०", "800", "475.5"]),
        ("इसे {} ने बनाया, जो अभियंता थे।", "किसने बनाया?", ["मोक्षगुंडम विश्वेश्वरय्या", "कृष्ण", "सीता"]),
    ],
    "ja": [
        ("{}は日本の首都である。", "首都はどこですか。", ["東京", "京都", "奈良"]),
        ("彼は{}に生まれた。", "いつ生まれましたか。", ["1868年", "昭和20年8月15日", "二〇〇一年"]),
        ("この橋の長さは{}メートルである。", "橋の長さは？", ["1,991", "３９１１", "475.5"]),
        ("建てたのは技師の{}だった。", "誰が建てましたか。", ["田辺朔郎", "ワデル", "ﾄｳｷｮｳ社"]),
    ],
    "ko": [
        ("{}은 이 나라의 수도이다.", "수도는 어디인가?", ["서울", "평양", "개성"]),
        ("그는 {}에 태어났다.", "언제 태어났는가?", ["1945년", "1392년 8월", "2001년"]),
        ("이 다리의 길이는 {}미터이다.", "다리의 길이는?", ["1,161", "800", "475.5"]),
        ("이것을 지은 사람은 {}라는 기술자였다.", "누가 지었는가?", ["김철수", "이순신", "정약용"]),
    ],
}  # fmt: skip
NAMES: dict[str, str] = {"th": "Thai", "hi": "Hindi", "ja": "Japanese", "ko": "Korean"}


def main(argv: list[str]) -> None:
    """Write the files, and print a line for each file and tokenizer."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(argv[1] if argv[:1] == ["--keep"] else made)
        folder.mkdir(parents=True, exist_ok=True)
        print("| questions | tokenizer | number | too long | EM | F1 | the language's EM / F1 |")
        print("|---" * 7 + "|")
        for name, source, kind, tokenizer, language in cases(folder):
            number, too_long, em, f1, own = ceiling(source, tokenizer, language)
            rules = "-" if own is None else f"{own[0]:.2f} / {own[1]:.2f}"
            counts = f"{number:,} | {too_long}"
            print(f"| {name} | {kind} | {counts} | {em:.2f} | {f1:.2f} | {rules} |", flush=True)


def cases(folder: Path) -> list[tuple[str, str, str, Any, languages.Language | None]]:
    """Write the files; return name, source, kind of tokenizer, tokenizer and language of each."""
    embedded = load_tokenizer("embedded")
    found: list[tuple[str, str, str, Any, languages.Language | None]] = []
    real = REAL_SQUAD / "dev-v1.1.parquet"
    source = str(real) if real.exists() else "embedded"
    found.append(
        ("SQuAD 1.1 dev" if real.exists() else source, source, "WordPiece", embedded, None)
    )
    padded = folder / "white-space.json"
    padded.write_text(json.dumps(with_white_space(source)))
    found.append(("its golds with white space", str(padded), "WordPiece", embedded, None))
    for language in SENTENCES:
        path = folder / f"{language}.json"
        path.write_text(json.dumps(squad_in(language), ensure_ascii=False))
        texts = [text for *parts, values in SENTENCES[language] for text in (*parts, *values)]
        for kind, make in TOKENIZERS.items():
            found.append((NAMES[language], str(path), kind, make(texts), language))
    return found


def with_white_space(source: str) -> dict[str, Any]:
    """Return questions as SQuAD's JSON, a share of the golds with the white space beside them."""
    table = load_questions(DataSettings(source=source), "eval").table
    draw = random.Random(0)
    articles = []
    for row in table.to_pylist():
        context, golds = row["context"], []
        for text, start in zip(*row["answers"].values(), strict=True):
            end = start + len(text)
            if draw.random() < SHARE_OF_WHITE_SPACE:
                end += context[end : end + 1].isspace()
                start -= end == start + len(text) and context[max(start - 1, 0)].isspace()
            golds.append({"text": context[start:end], "answer_start": start})
        asked = {"id": row["id"], "question": row["question"], "answers": golds}
        articles.append(
            {"title": row["title"], "paragraphs": [{"context": context, "qas": [asked]}]}
        )
    return {"version": "1.1", "data": articles}


def squad_in(language: languages.Language) -> dict[str, Any]:
    """Return invented questions of a language as SQuAD's JSON, one paragraph for four of them."""
    draw = random.Random(0)
    space = "" if language in ("th", "ja") else " "
    articles = []
    for number in range(NUM_QUESTIONS // 4):
        context, asked = "", []
        for sentence, question, values in draw.sample(SENTENCES[language], 4):
            before, after = sentence.split("{}")
            value = draw.choice(values)
            start = len(context) + len(before)
            answers = [{"text": value, "answer_start": start}]
            asked.append({"id": f"{number}-{start}", "question": question, "answers": answers})
            context += before + value + after + space
        paragraph = {"context": context.strip(), "qas": asked}
        articles.append({"title": str(number), "paragraphs": [paragraph]})
    return {"version": "1.1", "data": articles}


def word_pieces(texts: list[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer as BERT's: its normaliser takes letters of Hangul and marks apart."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    letters = letters_of(texts, normalizer)
    pieces = [*SPECIALS, *letters, *(f"##{letter}" for letter in letters)]
    numbered = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordPiece(numbered, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    return wrapped(backend)


def unigrams(texts: list[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer as XLM-RoBERTa's: pieces over NFKC, behind a mark for each space."""
    normalizer = normalizers.NFKC()
    pieces = [(token, 0.0) for token in SPECIALS] + [("▁", -4.0)]
    pieces += [(letter, -5.0) for letter in letters_of(texts, normalizer)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=1))
    backend.normalizer, backend.pre_tokenizer = normalizer, pre_tokenizers.Metaspace()
    return wrapped(backend)


def byte_pairs(texts: list[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer as RoBERTa's: several tokens for one character of these scripts."""
    pieces = [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return wrapped(backend)


def letters_of(texts: list[str], normalizer: Any) -> list[str]:
    """Return the characters of texts once they are normalised."""
    return sorted({letter for text in texts for letter in normalizer.normalize_str(text)} - {" "})


SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TOKENIZERS: dict[str, Callable[[list[str]], PreTrainedTokenizerFast]] = {
    "WordPiece": word_pieces,
    "Unigram": unigrams,
    "byte-level BPE": byte_pairs,
}


def wrapped(backend: Tokenizer) -> PreTrainedTokenizerFast:
    """Return a tokenizer that sets questions and contexts beside each other as BERT's does."""
    number = [(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=number
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_input_names=["input_ids", "attention_mask"],
        **dict(zip(names, SPECIALS, strict=True)),
    )


def ceiling(
    source: str, tokenizer: PreTrainedTokenizerFast, language: languages.Language | None
) -> tuple[int, int, float, float, tuple[float, float] | None]:
    """Return questions, those of too long golds, EM and F1 by SQuAD's rules, the language's."""
    table = load_questions(DataSettings(source=source), "eval").table
    answers = predict(table, tokenizer)
    scored = metrics.score(table, dict(zip(table["id"].to_pylist(), answers, strict=True)))
    golds = [row["text"] for row in table["answers"].to_pylist()]
    own = languages.score(golds, answers, language) if language else None
    longest = EvaluateSettings().max_answer_length
    too_long = windows.count_unreachable(table, tokenizer, SPEC, longest)["num_golds_too_long"]
    return len(table), too_long, scored.summary()["em"], scored.summary()["f1"], own


def predict(table: pa.Table, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Answer each question with its label."""
    settings = EvaluateSettings()
    cut = windows.build(table, tokenizer, SPEC).table
    parts = []
    for first in range(0, len(cut), 512):
        some = cut.slice(first, 512)
        starts, ends = (peaks(some, name) for name in ("start", "end"))
        parts.append(
            spans.decode(
                some,
                starts,
                ends,
                n_best=settings.n_best,
                max_answer_length=settings.max_answer_length,
            )
        )
    merged = merge_spans(
        pa.concat_tables(parts), len(table), n_best=settings.n_best, no_answer_threshold=None
    )
    return merged.texts(table["context"].to_pylist())


def peaks(cut: pa.Table, name: str) -> np.ndarray:
    """Return (windows, tokens) logits: 1 at the label, 0 elsewhere, -inf after the last token."""
    lengths = cut["length"].to_numpy()
    positions = np.arange(lengths.max())
    logits = np.where(positions < lengths[:, None], 0, -np.inf).astype(np.float32)
    logits[np.arange(len(cut)), cut[name].to_numpy()] = 1
    return logits


if __name__ == "__main__":
    main(sys.argv[1:])
