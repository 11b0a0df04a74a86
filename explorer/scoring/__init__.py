"""Scoring: captions as words, and how near, how sure, how true they are. Strings and numbers only."""
