"""EM and F1 by the rules of languages, detection, and what result.json says of them."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from qa_lib import config, evaluation
from qa_lib.data import Questions, load_questions
from qa_lib.evaluation import languages
from qa_lib.evaluation.languages import Rules
from qa_lib.runs.run_folder import RunFolder

# (language, prediction, gold, EM, F1): computed from MLQA's published definition, apart from this
# code. Korean: KorQuAD's, counted by hand; Japanese and Thai: mixed segmentation, by hand.
CASES = [
    ("de", "im Jahr 1990, „der“ Bundestag", "Der Bundestag", 0, 0.4),
    ("es", "¿La casa de Ana?", "las casas de Ana", 0, 2 / 3),
    ("zh", "西元1998年，北京市", "1998年 北京", 0, 0.727273),
    ("zh", "北京", "北京。", 1, 1),
    ("zh", "iPhone 手機", "手機 iphone", 0, 1),
    ("hi", "दिल्ली में।", "दिल्ली", 0, 2 / 3),
    ("ar", "الملك فيصل", "ملك فيصل", 1, 1),
    ("vi", "của Hà Nội", "Hà Nội", 1, 1),
    ("en", "the U.S. Army", "US army", 1, 1),
    ("ko", "《베를린》에서", "베를린", 0, 2 * 3 / 8),
    ("ko", "베를린 시", "베를린시", 0, 1),
    ("ja", "東京都に", "東京都", 0, 6 / 7),
    ("ja", "カタカナ語。", "カタカナ語", 1, 1),
    ("th", "กรุงเทพ", "กรุง", 0, 8 / 11),
]


@pytest.mark.parametrize(("language", "prediction", "gold", "em", "f1"), CASES)
def test_answers_score_as_published(language, prediction, gold, em, f1):
    scores = languages.score([[gold]], [prediction], language)
    assert scores == pytest.approx((100 * em, 100 * f1), abs=1e-3)


def test_the_best_gold_counts_and_a_missing_answer_scores_0():
    assert languages.score([["北京", "上海"], ["上海"]], ["上海", None], "zh") == (50, 50)


def test_no_answer_is_right_where_there_is_none():
    assert languages.score([[], []], ["", "北京"], "zh") == (50, 50)


def test_what_squad_counts_as_one_word_is_many_in_chinese():
    question = pa.table({"id": ["a"], "answers": [{"text": ["北京市"], "answer_start": [0]}]})
    from qa_lib.evaluation import metrics

    assert metrics.score(question, {"a": "北京"}).summary()["f1"] == 0
    assert languages.score([["北京市"]], ["北京"], "zh")[1] == pytest.approx(80)


TEXTS = {
    "en": "The mayor of the town is known for his hats.",
    "de": "Der Bürgermeister der Stadt ist für seine Hüte bekannt und wurde geehrt.",
    "es": "El alcalde de la ciudad es conocido por los sombreros que lleva en el cine.",
    "vi": "Thủ đô của Việt Nam là Hà Nội, một thành phố được biết đến trong các sách.",
    "zh": "柏林有十個居民和一個市長，2019年。",
    "ja": "ベルリンには十人の住民と一人の市長がいる。",
    "ko": "베를린에는 열 명의 주민과 한 명의 시장이 있다.",
    "th": "เบอร์ลินมีประชากรสิบคนและนายกเทศมนตรีหนึ่งคน",
    "hi": "बर्लिन में दस निवासी और एक महापौर हैं।",
    "ar": "يوجد في برلين عشرة سكان ورئيس بلدية واحد.",
}


@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_the_language_of_a_text_is_found(language):
    assert languages.detect([TEXTS[language]]) == language


@pytest.mark.parametrize(
    "text",
    [
        "Le maire de la ville est connu pour les chapeaux qu'il porte dans la rue et en hiver.",
        "O prefeito da cidade é conhecido pelos chapéus que usa no cinema e em casa.",
        "Il sindaco della città è noto per i cappelli che porta al cinema e in un bar del centro.",
        "De burgemeester van de stad is bekend om het dragen van een hoed in het theater.",
        "L'alcalde de la ciutat és conegut pels barrets que porta i ven a les botigues.",
        "Primarul orașului este cunoscut pentru pălăriile pe care le poartă la teatru din oraș.",
        "Staden är känd för en bok av Charles de Gaulle, som dog där den 9 november 1970.",
        "Kirjan kirjoitti Simone de Beauvoir, joka asui Pariisissa ja oli kuuluisa.",
        "Şehrin en büyük köprüsü en eski köprü olarak bilinir ve bir müzedir.",
        "Miasto Rio de Janeiro jest znane z karnawału, który odbywa się co roku na ulicach.",
        "شهردار برلین به خاطر کلاه‌هایی که می‌پوشد و کارهای بزرگ مشهور است.",
    ],
)
def test_a_language_without_rules_does_not_get_those_of_another(text):
    assert languages.detect([text]) == "en"


@pytest.mark.parametrize(
    "text",
    [
        "Fue a Egipto, a Italia y a Rusia, y más tarde a Prusia, en las guerras contra Austria.",
        "La ciudad de Madrid es la capital de España. A finales del siglo, a causa de la guerra.",
    ],
)
def test_words_that_languages_share_do_not_hide_spanish(text):
    assert languages.detect([text]) == "es"


def test_a_latin_name_in_a_chinese_text_does_not_make_it_latin():
    assert languages.detect([TEXTS["zh"] + " iPhone 12 Pro"]) == "zh"
    assert languages.detect(["", "12 34"]) == "en"


@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_texts_without_spaces_are_known(language):
    assert languages.lacks_spaces([TEXTS[language]]) == (language in ("zh", "ja", "th"))


@pytest.mark.parametrize("text", ["ຄົນນະຄອນຫຼວງ", "ရန်ကုန်မြို့", "ភាសាខ្មែរ", "བོད་ཡིག"])
def test_scripts_without_spaces_are_known_where_no_rules_are(text):
    assert languages.lacks_spaces([text]) and languages.detect([text]) == "en"


@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_normalising_twice_changes_nothing(language):
    rules = Rules(language)
    once = rules.normalize(TEXTS[language])
    assert rules.normalize(once) == once


@pytest.mark.parametrize("wish", ["squad", "auto", "zh"])
def test_a_predictions_file_gets_the_languages_scores_by_name(tmp_path, capsys, wish):
    """SQuAD's scores stay what they are; without the language's, the user is told."""
    question: dict[str, Any] = {"id": "a", "question": "首都是？"}
    question["answers"] = [{"text": "柏林", "answer_start": 0}]
    paragraph = {"context": "柏林是德國的首都，有十個居民。", "qas": [question]}
    squad = {"data": [{"title": "t", "paragraphs": [paragraph]}]}
    (tmp_path / "dev.json").write_text(json.dumps(squad), encoding="utf-8")
    (tmp_path / "answers.json").write_text('{"a": "柏林是"}', encoding="utf-8")
    settings = config.parse(
        "evaluate",
        ["--data.source", str(tmp_path / "dev.json"), "--evaluate.semantic-model", "none",
         "--evaluate.language", wish],
    )  # fmt: skip
    questions = load_questions(settings.data, "eval")
    run = RunFolder(str(tmp_path / "run"), "evaluate")
    scored = evaluation.score_file(settings, run, questions, str(tmp_path / "answers.json"))
    fields = scored.fields()
    assert fields["f1"] == 0
    told = capsys.readouterr().err
    if wish == "squad":
        assert "language_f1" not in fields
        assert "--evaluate.language auto" in told
    else:
        assert (fields["language"], fields["language_em"]) == ("zh", 0)
        assert fields["language_f1"] == pytest.approx(80)
        assert "by the rules of zh: EM 0.00  F1 80.00" in evaluation.summary(fields)
        assert "note" not in told


@pytest.mark.parametrize(("version", "em", "total"), [("2.0", 100, 2), ("1.1", 50, 4)])
def test_a_language_counts_the_questions_that_the_official_means_count(version, em, total):
    """Under 2.0 rules a question without a prediction is left out, under 1.1 it is wrong."""
    last = [] if version == "2.0" else ["Rom"]
    table = pa.Table.from_pylist(
        [
            {"id": str(row), "context": "x", "answers": {"text": golds}}
            for row, golds in enumerate([["10"], ["one"], ["Ann"], last])
        ]
    )
    questions = Questions(table, "eval", "here", 0)
    fields = evaluation.score(questions, {"0": "10", "1": "one"}, "en").fields()
    assert fields["total"] == total
    assert (fields["em"], fields["f1"]) == (em, em)
    assert (fields["language_em"], fields["language_f1"]) == (em, em)
