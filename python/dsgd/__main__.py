"""The entry point of ``dsgd`` and ``python -m dsgd``."""

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C during its import ends the process without a traceback."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dsgd.cli import main as run

    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
