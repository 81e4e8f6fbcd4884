"""The `killstream` command: `python -m deploy`."""

import signal


def main() -> None:
    """Run the command line. Ctrl-C during its import ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from deploy.cli import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
