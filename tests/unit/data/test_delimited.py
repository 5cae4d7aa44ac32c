"""CSV and TSV: delimiters, headers, quotes."""

from __future__ import annotations

import pytest

from tests.support.question_files import BERLIN, READ, content, load, refusal


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_of_text_needs_question_context_answer(tmp_path, delimiter, encoding):
    rows = [("Question", "Context", "Answer"), ("How many?", BERLIN, "10")]
    rows.append(("A, b; \t?", 'One "NA"\nin two lines, null; so\tit is.', "NA"))
    quoted = (['"' + value.replace('"', '""') + '"' for value in row] for row in rows)
    path = tmp_path / ("q.tsv" if delimiter == "\t" else "q.csv")
    path.write_bytes("\n".join(delimiter.join(row) for row in quoted).encode(encoding))
    assert content(load(path)) == [
        ("row-0", "How many?", BERLIN, [("10", 11)]),
        ("row-1", rows[2][0].strip(), rows[2][1], [("NA", 5)]),
    ]


@pytest.mark.parametrize(
    ("text", "contexts"),
    [
        ('Q\t"x has 10\t10\nQ\ty has 10"\t10\n', ['"x has 10', 'y has 10"']),  # would be one row
        ('Q\t"Ann" has 10\t10\n', ['"Ann" has 10']),
        ('Q\t"Ann\thas ""10"""\t10\n', ['Ann\thas "10"']),
        ('Q\t"Ann\nhas 10"\t10\n', ["Ann\nhas 10"]),
    ],
)
def test_quotes_of_tsv_are_those_of_its_writer(tmp_path, text, contexts):
    (tmp_path / "q.tsv").write_text("question\tcontext\tanswer\n" + text)
    assert [row[2] for row in content(load(tmp_path / "q.tsv"))] == contexts


@pytest.mark.parametrize(
    ("cell", "context"),
    [
        ('"He said \\"10\\" \\\\ men"', 'He said "10" \\ men'),  # Spark
        ('"C:\\10\\"', "C:\\10\\"),
        ('C:\\dir\\"x has 10', 'C:\\dir\\"x has 10'),
        ('"say \\"" 10"', 'say \\" 10'),
    ],
)
def test_quotes_of_csv_are_doubled_or_escaped(tmp_path, cell, context):
    (tmp_path / "q.csv").write_text(f"question,context,answer\nQ,{cell},10\n")
    assert content(load(tmp_path / "q.csv"))[0][2] == context


@pytest.mark.parametrize(
    ("row", "context"),
    [
        ('Q, "a, 10" , "10"', "a, 10"),
        ('Q,  a 10, "10"', "a 10"),
        ('Q, "say ""a, 10"", so", "10"', 'say "a, 10", so'),
        ('Q, "a\n, 10", "10"', "a\n, 10"),
        ('"Q, ","a, ""b"", 10","10"', 'a, "b", 10'),
        ('"Q, "," a, ",10', None),
        ('Q, "say \\"a, 10\\", and so", "10"', 'say "a, 10", and so'),
        ('Q, "Old" bridge 10, "10"', ' "Old" bridge 10'),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "|"])
def test_blanks_before_quotes_are_no_text(tmp_path, row, context, delimiter):
    text = f"question, context, answer\n{row}\n".replace(",", delimiter)
    (tmp_path / "q.csv").write_text(text)
    (_, question, found, gold) = content(load(tmp_path / "q.csv", "eval"))[0]
    assert (question.strip(",;| "), gold[0][0]) == ("Q", "10")
    assert found == (" a, " if context is None else context).replace(",", delimiter)


@pytest.mark.parametrize("cell", ['"Ann "the boss" has 10"', '"Ann" has 10'])
def test_quotes_that_are_not_doubled_are_named_by_line(tmp_path, cell):
    """Arrow reads `Ann the boss" has 10"`: a text that nobody wrote."""
    (tmp_path / "q.csv").write_text(f'question,context,answer\nQ,"a\n10",10\nQ,{cell},10\n')
    error = refusal(tmp_path / "q.csv")
    assert (
        "q.csv, line 4: " in error.problem
        and "not doubled" in error.problem
        and '""old""' in error.remedy
    )


def test_quotes_in_cells_without_quotes_are_text(tmp_path):
    (tmp_path / "q.csv").write_text('question,context,answer\nQ,a 5" pipe of 10" x,10\n')
    assert content(load(tmp_path / "q.csv"))[0][2] == 'a 5" pipe of 10" x'


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_excel_is_told_the_delimiter_in_a_first_line(tmp_path, mark):
    text = f"{mark}sep=;\r\nquestion;context;answer\r\nHow many?;{BERLIN};10\r\n"
    (tmp_path / "q.csv").write_bytes(text.encode())
    assert content(load(tmp_path / "q.csv"))[0][2:] == READ[0][2:]


def test_a_csv_with_a_ragged_row_is_named(tmp_path):
    (tmp_path / "q.csv").write_text("question,context,answer\na,b,c\na,b\n")
    assert "q.csv is not a table of text" in refusal(tmp_path / "q.csv").problem


@pytest.mark.parametrize(
    "rows",
    [
        'Q1,A 1,1,"see\nQ2,A 2,2,\n',  # would be one row
        'Q1,A 1,1,"see\nQ2,A 2,2,\nQ3,A 3,3,"ok\nQ4,A 4,4,ok\n',
        'Q1,"A \\"1\\"",1,"see\nQ2,A 2,2,\n',  # with Spark's quotes
    ],
)
def test_a_quote_that_does_not_end_swallows_no_rows(tmp_path, rows):
    (tmp_path / "q.csv").write_text(f"question,context,answer,comment\n{rows}")
    assert "q.csv, line 2: a cell that begins with a quote" in refusal(tmp_path / "q.csv").problem


@pytest.mark.parametrize(
    "text",
    [
        '"question", "context", "answer", "n"\n"Q", "It is 1.50 EUR", "1.50", "7"\n',
        '"a ""note""\n(in full)";question;context;answer\nx;Q;It is 1.50 EUR;1.50\n',
        "\n\nquestion\tcontext\tanswer\nQ\tIt is 1.50 EUR\t1.50\n",
    ],
)
def test_numbers_are_texts_whatever_the_header_looks_like(tmp_path, text):
    path = tmp_path / ("q.tsv" if "\t" in text else "q.csv")
    path.write_text(text)
    assert content(load(path))[0][1:] == ("Q", "It is 1.50 EUR", [("1.50", 6)])


def test_backslashes_that_escape_nothing_stay(tmp_path):
    rows = 'Q,"He said \\"10\\"",10\nQ,C:\\new\\\\dir 10,10\nQ,"\\frac 10, \\\\",10\n'
    (tmp_path / "q.csv").write_text(f"question,context,answer\n{rows}")
    contexts = [row[2] for row in content(load(tmp_path / "q.csv"))]
    assert contexts == ['He said "10"', "C:\\new\\\\dir 10", "\\frac 10, \\"]


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ('"{""text"": [1.50], ""answer_start"": [6]}"', "1.1"),
        ("\"{'text': [1.50], 'answer_start': [np.int64(6)]}\"", "1.1"),
        ("1.50\nQ,x,[]\nQ,x,[]", "2.0"),  # beside lists
    ],
)
def test_a_number_stays_as_it_is_spelled(tmp_path, answer, version):
    (tmp_path / "q.csv").write_text(f"question,context,answer\nQ,It is 1.50 EUR,{answer}\n")
    assert content(load(tmp_path / "q.csv", version=version))[0][3] == [("1.50", 6)]
