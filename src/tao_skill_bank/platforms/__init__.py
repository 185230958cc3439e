"""Where jobs run: one file per platform."""
