"""What a search will try, decided before anything runs: options, space, algorithms, study."""
