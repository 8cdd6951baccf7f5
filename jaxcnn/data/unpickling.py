"""A pickle read as data: the machine that it is a program for, without import and call.

A pickle's instructions build containers on a stack, and may import and call anything at all. Here
an import is answered from a table of stand-ins, a call reaches nothing but those, and the memory
follows from the file's size: Python's own unpickler can be told to grow its memo to gigabytes, and
to hash a tuple so deep that the process dies.

Reference:
    The opcodes as Python's `pickletools` documents them, which also takes the file apart here.
"""

import pickletools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from mmap import mmap
from types import FunctionType
from typing import Any, cast

INSTRUCTIONS = 1 << 22  # one byte can ask for a dictionary, so this is half a gigabyte at most
SCALARS = (bool, int, float, str, bytes, type(None))

CONSTANTS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE"
    " BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
STRINGS = ("STRING", "BINSTRING", "SHORT_BINSTRING")  # Python 2's
SINGLES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
# How many things each takes from the stack; None: all since the last mark.
TUPLES = {"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
APPENDS = {"APPEND": 1, "APPENDS": None}
SETITEMS = {"SETITEM": 2, "SETITEMS": None}


class Refused(Exception):
    """A file asks for what is not admitted."""


@contextmanager
def faults(what: str) -> Iterator[None]:
    """Whatever reading a file stumbles over becomes a ValueError that begins with `what`."""
    try:
        yield
    except Refused as error:
        raise ValueError(f"{what} is refused: {error}.") from error
    # A damaged file can make its reader stumble in any of these ways.
    except (
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        RecursionError,
        MemoryError,
        OverflowError,
        Warning,  # odd escapes, where warnings are errors
    ) as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise ValueError(f"{what} is truncated or corrupt ({reason}).") from error


def unpickle(
    stream: BytesIO | mmap,
    admitted: Mapping[tuple[str, str], Any],
    *,
    build: Callable[[Any, Any], None],
    persistent: Callable[[Any], Any] | None = None,
    strings: type[str] | type[bytes] = str,
) -> Any:
    """What the pickle at the stream's position describes; the stream then stands behind it.

    Args:
        stream: a BytesIO or an mmap, which never give more than they have.
        admitted: (module, name) -> what stands for it; only the plain functions are called.
        build: gives an object its state, for the objects that may have one.
        persistent: what stands for something outside of the pickle.
        strings: what Python 2's strings become.

    Raises:
        Refused: an import that is not admitted, or an instruction that plain data does not need.
        ValueError, LookupError, ...: a damaged pickle; see `faults`.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def take(count: int | None = None) -> list[Any]:
        start = marks.pop() if count is None else len(stack) - count
        if not 0 <= start <= len(stack):
            raise LookupError("it takes more than there is")
        items = stack[start:]
        del stack[start:]
        return items

    # Typing knows no mmap there, and has None among the arguments of all.
    instructions = cast(Iterable[tuple[Any, Any, Any]], pickletools.genops(cast(BytesIO, stream)))
    for n, (opcode, arg, _) in enumerate(instructions):
        if n >= INSTRUCTIONS:
            raise Refused(f"it has more than {INSTRUCTIONS} instructions")
        name = opcode.name
        if name in CONSTANTS:
            stack.append(arg)
        elif name in STRINGS:
            stack.append(arg if strings is str else arg.encode("latin1"))
        elif name in SINGLES:
            stack.append(SINGLES[name])
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name == "MARK":
            marks.append(len(stack))
        elif name in TUPLES:
            stack.append(tuple(take(TUPLES[name])))
        elif name == "LIST":
            stack.append(take())
        elif name == "DICT":
            items = take()
            stack.append({})
            _set(items, stack[-1])
        elif name in APPENDS:
            _extend(take(APPENDS[name]), stack[-1])
        elif name in SETITEMS:
            _set(take(SETITEMS[name]), stack[-1])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else arg] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            asked = arg.split(" ", 1) if name == "GLOBAL" else take(2)
            stack.append(_stand_in(admitted, *asked))
        elif name in ("REDUCE", "NEWOBJ"):
            stack.append(_call(*take(2)))
        elif name == "BUILD":
            (state,) = take(1)
            build(stack[-1], state)
        elif name == "BINPERSID" and persistent:
            stack.append(persistent(*take(1)))
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise Refused(f"plain data does not need its instruction {name}")
    raise EOFError("no end")


def _stand_in(admitted: Mapping[tuple[str, str], Any], module: Any, name: Any) -> Any:
    if type(module) is not str or type(name) is not str:
        raise Refused("it asks for something whose name is no text")
    if (module, name) not in admitted:
        asked = f"{module}.{name}"
        raise Refused(
            f"it asks for {asked:.100}, and only arrays and plain containers are admitted"
        )
    return admitted[module, name]


def _call(function: Any, args: Any) -> Any:
    if type(function) is not FunctionType or type(args) is not tuple:
        raise Refused(f"it calls a {type(function).__name__} with a {type(args).__name__}")
    return function(*args)


def _extend(items: list[Any], target: Any) -> None:
    if type(target) is not list:
        raise Refused(f"it appends to a {type(target).__name__}")
    target.extend(items)


def _set(items: list[Any], target: Any) -> None:
    if type(target) is not dict:
        raise Refused(f"it sets items of a {type(target).__name__}")
    target.update(dictionary(zip(items[::2], items[1::2], strict=True)))


def dictionary(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """The dictionary of those pairs, whose keys are plain values or tuples of such.

    Raises:
        Refused: a key with anything in it that is nested; hashing it would recurse.
    """
    items = {}
    for key, value in pairs:
        parts = key if type(key) is tuple else (key,)
        if not all(type(part) in SCALARS for part in parts):
            raise Refused(f"it has a {type(key).__name__} as a key")
        items[key] = value
    return items
