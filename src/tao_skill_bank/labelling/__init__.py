"""Labels in the hands of people: exported, accepted, corrected or rejected on a local page, and imported again."""
