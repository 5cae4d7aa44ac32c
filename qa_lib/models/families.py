"""Families that have a question-answering form in transformers, and that this suite refuses."""

from __future__ import annotations

UNSUPPORTED = {
    "canine": "its tokenizer splits text into characters without offsets",
    "fnet": "it has no attention mask: what a batch is padded with changes its answers",
    "funnel": "its tokenizer gives [CLS] a token type of its own",
    "layoutlmv2": "it reads images of pages",
    "layoutlmv3": "it reads images of pages",
    "lilt": "it reads the places of words on a page",
    "lxmert": "it reads images",
    "xlnet": "its tokenizer gives <cls> a token type of its own",
}
"""Family to the reason; of all others, `scripts/families.py` shows that they work."""
