"""Data: images and references, read from wherever they are, checked, split and kept."""
