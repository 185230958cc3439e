"""Converts data that people have into a new folder of records or captioned clips; what has no place is listed."""
