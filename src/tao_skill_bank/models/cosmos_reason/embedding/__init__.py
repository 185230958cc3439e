"""Embeddings of clips and questions: rows, their identity, the two encoders, and the files of a run."""
