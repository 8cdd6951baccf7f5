"""One process of several: how it joins the others, and how it ends when one of them has died."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from jaxcnn.train.parallel import join

OWN = re.compile("RESOURCE_EXHAUSTED|INVALID_ARGUMENT|OUT_OF_RANGE")  # errors of this process


@contextmanager
def joined(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> Iterator[None]:
    """Inside, this process works with the others; with no coordinator it is alone."""
    join(coordinator, num_processes, process_id)
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).strip().splitlines()[0][:200]
        what = f"failed ({reason})" if OWN.search(reason) else f"lost another one ({reason})"
        print(
            f"jaxcnn: process {jax.process_index()} of {jax.process_count()} {what}. "
            f"The checkpoints are whole: start all processes again with --resume RUN.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # an ordinary exit would wait for the one that is gone
