"""Reading ahead: pictures in a given order, by threads or by Grain's worker processes."""

import atexit
import gc
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int, UInt8

from jaxcnn.data.pictures import THREADS, Pictures

if TYPE_CHECKING:
    import grain

AHEAD = 2  # batches that are read before they are asked for


def stream(
    pictures: Pictures, parts: Sequence[Int[np.ndarray, " _"]], workers: int
) -> Generator[tuple[UInt8[np.ndarray, "_ h w c"], dict[int, str]], None, None]:
    """`pictures.read` of each part in turn, read ahead; what is read does not depend on `workers`.

    Threads and processes start with the first part asked for, and end with the iterator: at its
    end, when it is closed or dropped, and on an error. Workers never touch a device.

    Args:
        pictures: what to read from.
        parts: the places of each batch.
        workers: processes that read whole batches; 0 reads in threads of this process.

    Raises:
        ValueError, FileNotFoundError: as `Pictures.read`, in as many words from a worker.
        OSError: a worker that died.
    """
    reading = _read(_read_ahead(pictures, parts, workers), len(parts), workers)
    atexit.register(_close, weakref.ref(reading))  # before Python takes its modules apart
    return reading


def _read(
    ahead: "grain.DatasetIterator", count: int, workers: int
) -> Generator[tuple[np.ndarray, dict[int, str]], None, None]:
    failure = None
    try:
        for _ in range(count):
            images, faults = next(ahead)
            if workers:  # out of shared memory at once: containers have little of it
                images = np.array(images)
            yield images, faults
    except (ValueError, FileNotFoundError) as error:
        failure = type(error)(str(error))
    except RuntimeError as error:
        if not workers:
            raise
        failure = OSError(
            f"batches: a worker that reads pictures died: {error} A script has to start its work "
            'under `if __name__ == "__main__":`, and /dev/shm must hold a few batches; workers=0 '
            "needs neither."
        )
    finally:
        ahead.close()
        gc.collect()  # the end of Grain's iterators is a cycle that holds their last batches
    # Outside of `except`: the trace of another thread or process says nothing of the file.
    if failure:
        raise failure


def _close(reading: weakref.ref[Generator]) -> None:
    iterator = reading()
    if iterator is not None:
        iterator.close()


def _read_ahead(
    pictures: Pictures, parts: Sequence[Int[np.ndarray, " _"]], workers: int
) -> "grain.DatasetIterator":
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():  # Grain asks absl's flags, which only absl's programs parse
        flags.FLAGS.mark_as_parsed()
    # A worker reads a batch while the one before waits in its queue; here a thread does.
    ahead = grain.ReadOptions(0, 0) if workers else grain.ReadOptions(1, AHEAD)
    read = partial(pictures.read, threads=1 if workers else THREADS)
    processes = grain.multiprocessing.MultiprocessingOptions(workers, 1)
    source = grain.MapDataset.source(parts).map(read).to_iter_dataset(ahead)
    return iter(source.mp_prefetch(processes, _begin))


def _begin(worker: int, count: int) -> None:
    """Leaves Ctrl-C to the main process, and ends with it even where that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
