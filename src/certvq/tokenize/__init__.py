"""Tokenize data."""
