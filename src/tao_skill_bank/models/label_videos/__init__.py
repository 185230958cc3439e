"""Labels clips with a vision language model behind an OpenAI-compatible server. No torch in any of its modules."""
