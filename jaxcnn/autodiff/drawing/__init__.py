"""Directed graphs drawn: layout, SVG and DOT."""
