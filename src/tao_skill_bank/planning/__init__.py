"""The stages of a request in order, from the user's words to a sealed plan and its launch."""
