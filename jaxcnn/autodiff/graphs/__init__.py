"""A function as a graph whose gates say what they do to gradients."""
