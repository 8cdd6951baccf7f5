"""The command line: `jaxcnn <verb>` parses, calls a room and prints; it has no logic of its own."""

import difflib
import sys
import warnings
from collections.abc import Sequence

import tyro

from jaxcnn.cli import dreams, exports, gradchecks, inspections, sweeps, traces, verbs
from jaxcnn.lowering import keep_memory, keep_programs


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit: 0 done, 1 failed, 2 wrong input, 130 stopped by Ctrl-C."""
    if arguments is None:  # this process is ours
        keep_memory()
        keep_programs()
        arguments = sys.argv[1:]
    arguments = list(arguments)
    try:
        table = {
            "train": verbs.training(verbs.resumed_config(arguments)),
            "sweep": sweeps.sweep,
            "lr-range": sweeps.lr_range,
            "evaluate": verbs.evaluate,
            "predict": verbs.predict,
            "features": verbs.features,
            "models": verbs.zoo,
            "summary": verbs.summary,
            "gradcheck": gradchecks.gradcheck,
            "trace": traces.trace,
            "export": exports.export,
            "profile": exports.profile,
            "inspect": inspections.inspect,
            "dream": dreams.dream,
            "doctor": verbs.doctor,
        }
        if arguments and not arguments[0].startswith("-") and arguments[0] not in table:
            close = difflib.get_close_matches(arguments[0], table, n=1)
            guess = f"; did you mean {close[0]!r}?" if close else "."
            raise ValueError(f"no verb {arguments[0]!r}{guess} Verbs: {', '.join(table)}.")
        if arguments[:1] == ["inspect"]:
            arguments[1:] = inspections.options_first(arguments[1:])
        with warnings.catch_warnings():
            warnings.showwarning = _say
            code = tyro.extras.subcommand_cli_from_dict(
                table,
                prog="jaxcnn",
                description="A JIT-compiled, functional CNN library on JAX.",
                args=arguments,
            )
    except (ValueError, OSError, ImportError) as error:
        print(f"jaxcnn: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _say(message: Warning | str, *_: object) -> None:
    """A warning as a sentence, without the line of code that it came from."""
    print(f"jaxcnn: {message}", file=sys.stderr)
