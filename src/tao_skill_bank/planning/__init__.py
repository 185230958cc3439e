"""The stages of a request in order, from its words to a sealed plan and its launch."""
