"""The `killstream` command: `python -m deploy`."""

import os
import signal

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start a thread for each core


def main() -> None:
    """Run the command line. Ctrl-C during its import ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from deploy.cli import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
