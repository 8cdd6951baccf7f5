"""Derivatives by differences, and gradients checked against them."""
