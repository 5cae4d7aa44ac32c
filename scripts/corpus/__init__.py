"""The generator of the embedded questions: a reading-comprehension corpus in the schema of SQuAD.

    python -m scripts.corpus    # writes qa_lib/data/embedded-train.parquet and -eval.parquet

Invented passages of several genres, each with several people, places, dates and numbers that only
their roles tell apart, so that a question is answered by reading who did what. Held-out passages
share no name with training passages, and passages and questions alike are worded differently.
The corpus is a pure function of the code; a test holds its hash, so that it changes on purpose.
"""
