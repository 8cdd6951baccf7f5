"""`python -m jaxcnn.cli` is `jaxcnn`."""

from jaxcnn.cli import main

main()
