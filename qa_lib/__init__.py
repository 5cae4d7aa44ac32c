"""Fine-tune, adjust, search and serve extractive question-answering transformers."""
