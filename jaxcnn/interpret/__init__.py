"""Seeing inside a CNN, or any JAX function of images: methods, and tests of the methods."""
