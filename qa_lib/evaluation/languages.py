"""Exact match and F1 in the languages that SQuAD's rules do not fit, by published definitions.

SQuAD's rules drop English articles and ASCII punctuation and count words between white space: in a
language without spaces F1 is then no more than exact match.

* MLQA (Lewis et al. 2020): Unicode punctuation, the language's own articles, and for Chinese mixed
  segmentation, in which each ideograph is a word. German, English, Spanish, Hindi, Vietnamese,
  Arabic and Chinese.
* Japanese and Thai: the same mixed segmentation, over the characters of their scripts.
* KorQuAD 1.0 (Lim et al. 2019): Korean words are inflected, so F1 counts characters.
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal, get_args

Language = Literal["ar", "de", "en", "es", "hi", "ja", "ko", "th", "vi", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_ARTICLES = {
    "en": re.compile(r"\b(a|an|the)\b"),
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    # To the letter: MLQA drops the article wherever its two letters stand.
    "ar": re.compile(r"\sال^|ال"),
}
_SEGMENTED = {
    "zh": "\u4e00-\u9fa5",  # to the letter, although Unicode has given out more ideographs since
    "ja": "\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f",
    "th": "\u0e00-\u0e7f",
}
_KOREAN_QUOTES = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SCRIPTS = {
    "kana": "\u3041-\u309f\u30a1-\u30fa\uff66-\uff9d",
    "hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff",
    "thai": "\u0e01-\u0e5b",
    "lao_to_khmer": "\u0e81-\u0fff\u1000-\u109f\u1780-\u17ff",  # with Tibetan and Myanmar
    "devanagari": "\u0900-\u097f",
    "arabic": "\u0600-\u06ff\u0750-\u077f",
    "latin": "a-zA-Z\u00c0-\u024f\u1e00-\u1eff",
}
_BY_SCRIPT: dict[str, Language] = {
    "hangul": "ko", "han": "zh", "thai": "th", "devanagari": "hi", "arabic": "ar",
}  # fmt: skip
_WITHOUT_SPACES = ("kana", "han", "thai", "lao_to_khmer")
_NOT_ARABIC = re.compile("[\u067e\u0686\u0698\u06a9\u06af\u06cc]")  # of Persian and Urdu
_COMMON_WORDS: dict[Language, frozenset[str]] = {
    "en": frozenset("the of and to in is was for that by".split()),
    "de": frozenset("der die das und ist von den mit wurde im".split()),
    "es": frozenset("el la los de en y que del las una".split()),
    "vi": frozenset("của và là các có trong được một cho những".split()),
}
_WITHOUT_RULES = {
    "ca": frozenset("de la el les que del els per amb als".split()),
    "da": frozenset("og at det som en på er af for den".split()),
    "et": frozenset("ja on oli et ta ning see ei kui mis".split()),
    "fi": frozenset("ja on oli se että ovat joka myös hän tai".split()),
    "fr": frozenset("de la le les et des en un du est".split()),
    "it": frozenset("di il la che in un del per della".split()),
    "nl": frozenset("de het een van en in is dat op te".split()),
    "no": frozenset("og at det som en på er av for til".split()),
    "pl": frozenset("na się do jest nie że oraz od jako przez".split()),
    "pt": frozenset("de que do da em um para os no uma".split()),
    "ro": frozenset("de în și la cu care din pe un lui".split()),
    "sv": frozenset("och att det som en på är av för den".split()),
    "tr": frozenset("ve bir bu da de için ile olarak en olan".split()),
}
_LEAST_SHARE = 0.05  # of all words, that a language's commonest ten are in its texts


@dataclass(frozen=True)
class Rules:
    """How a language's answers are compared.

    Attributes:
        language: Its code.
    """

    language: Language

    def normalize(self, text: str) -> str:
        """Return the text that exact match compares: lower case, no articles, no punctuation."""
        if self.language == "ko":
            plain = text.translate(_KOREAN_QUOTES).lower().translate(_ASCII_PUNCTUATION)
            return " ".join(plain.split())
        text = text.lower().translate(_punctuation())
        if (articles := _ARTICLES.get(self.language)) is not None:
            text = articles.sub(" ", text)
        if self._segment is not None:
            text = self._segment.sub(r" \g<0> ", text)
        return " ".join(text.split())

    def tokens(self, text: str) -> list[str]:
        """Return the tokens that F1 counts."""
        words = self.normalize(text).split()
        return [letter for word in words for letter in word] if self.language == "ko" else words

    @cached_property
    def _segment(self) -> re.Pattern[str] | None:
        letters = _SEGMENTED.get(self.language)
        return re.compile(f"[{letters}]") if letters else None


def score(
    golds: Iterable[list[str]], predictions: Iterable[str | None], language: Language
) -> tuple[float, float]:
    """Return mean exact match and mean F1, 0 to 100, over all questions.

    Args:
        golds: Each question's gold answers; an empty list: it has none, and "" is right.
        predictions: Each question's answer; None: there is none, which scores 0.
        language: Whose rules hold.
    """
    rules, known = Rules(language), dict[str, tuple[str, Counter[str]]]()

    def prepared(text: str) -> tuple[str, Counter[str]]:
        if text not in known:
            known[text] = rules.normalize(text), Counter(rules.tokens(text))
        return known[text]

    total, em, f1 = 0, 0.0, 0.0
    for texts, prediction in zip(golds, predictions, strict=True):
        total += 1
        if prediction is None:
            continue
        answer, tokens = prepared(prediction)
        pairs = [prepared(text) for text in texts or [""]]
        em += max(answer == gold for gold, _ in pairs)
        f1 += max(
            _f1(tokens, gold_tokens) if texts else float(answer == gold)
            for gold, gold_tokens in pairs
        )
    return 100 * em / total, 100 * f1 / total


def detect(texts: Iterable[str], limit: int = 200_000) -> Language:
    """Return the language that most of the texts seem to be written in.

    The script decides, and by it the commonest words or letters; English stands for languages that
    have no rules here, and for texts of which these say nothing.

    Args:
        texts: Contexts.
        limit: Characters that are looked at.
    """
    sample = _sample(texts, limit)
    counts = _count_scripts(sample)
    if counts["kana"] * 10 > counts["kana"] + counts["han"] > counts["latin"]:
        return "ja"  # ideographs with kana between them
    script = max(counts, key=counts.__getitem__)
    if script == "arabic" and 50 * len(_NOT_ARABIC.findall(sample)) > counts[script]:
        return "en"
    if script in _BY_SCRIPT and counts[script]:
        return _BY_SCRIPT[script]
    words = Counter(sample.lower().split())
    found = {code: sum(words[word] for word in common) for code, common in _COMMON_WORDS.items()}
    others = [sum(words[word] for word in common) for common in _WITHOUT_RULES.values()]
    best = max(found, key=found.__getitem__)  # the first, English, where all are equal
    is_certain = found[best] >= max(max(others), _LEAST_SHARE * words.total())
    return best if is_certain else "en"


def lacks_spaces(texts: Iterable[str], limit: int = 200_000) -> bool:
    """Say whether most letters of the texts are of scripts without spaces between words."""
    counts = _count_scripts(_sample(texts, limit))
    return 2 * sum(counts[script] for script in _WITHOUT_SPACES) > sum(counts.values())


def _f1(prediction: Mapping[str, int], gold: Mapping[str, int]) -> float:
    common = sum((Counter(prediction) & Counter(gold)).values())
    return 2 * common / (sum(prediction.values()) + sum(gold.values())) if common else 0.0


def _sample(texts: Iterable[str], limit: int) -> str:
    """Join the beginnings of texts, so that one long text does not decide alone."""
    parts, total = [], 0
    for text in texts:
        parts.append(text[:2_000])
        total += len(parts[-1])
        if total >= limit:
            break
    return " ".join(parts)


def _count_scripts(text: str) -> dict[str, int]:
    return {name: len(re.findall(f"[{range_}]", text)) for name, range_ in _SCRIPTS.items()}


@cache
def _punctuation() -> dict[int, None]:
    """Return the table that drops Unicode's and ASCII's punctuation; the first call takes 0.2 s."""
    marks = (code for code in range(sys.maxunicode) if unicodedata.category(chr(code))[0] == "P")
    return dict.fromkeys([*marks, *map(ord, string.punctuation)])
