"""The command line: `jaxcnn <verb>` parses, calls a room and prints; it has no logic of its own."""

import sys
from collections.abc import Sequence

import tyro

from jaxcnn.cli import verbs


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit: 0 done, 1 failed, 2 wrong input, 130 stopped by Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            {
                "train": verbs.training(verbs.resumed_config(arguments)),
                "evaluate": verbs.evaluate,
                "predict": verbs.predict,
                "summary": verbs.summary,
                "doctor": verbs.doctor,
            },
            prog="jaxcnn",
            description="A JIT-compiled, functional CNN library on JAX.",
            args=arguments,
        )
    except (ValueError, OSError) as error:
        print(f"jaxcnn: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
