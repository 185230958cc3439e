"""Small synthetic datasets, generated locally without a download."""
