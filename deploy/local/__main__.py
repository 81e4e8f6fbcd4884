"""The command line: `python -m deploy.local up|down|status|start|stop|restart`."""

import argparse
import logging
import sys

from deploy.local import control
from deploy.local.install import print_line
from deploy.local.server import LocalServerError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 1 with a reason on standard error."""
    chosen = _parser().parse_args(arguments)
    logging.getLogger().addHandler(
        logging.NullHandler()
    )  # the probes' clients log their errors, too
    try:
        return _run(chosen)
    except LocalServerError as reason:
        sys.stderr.write(f"{reason}\n")
        return 1


def _run(chosen: argparse.Namespace) -> int:
    if chosen.command == "status":
        return 0 if control.status() else 1
    if chosen.command == "up":
        print_line(control.environment_text(control.up(chosen.offset, own=chosen.own)).rstrip())
    elif chosen.command == "down":
        control.down()
    elif chosen.command == "start":
        control.start(chosen.name)
    else:
        {"stop": control.stop, "restart": control.restart}[chosen.command](
            chosen.name, kill=chosen.kill
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m deploy.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="make all four servers available on 127.0.0.1")
    up.add_argument("--offset", type=int, default=0, help="shift the standard ports by this")
    up.add_argument(
        "--own", action="store_true", help="use only servers that this command has started"
    )
    commands.add_parser("down", help="stop what `up` started")
    commands.add_parser("status", help="probe each server; exit code 1 when one isn't available")
    for name in ("start", "stop", "restart"):
        command = commands.add_parser(name, help=f"{name} a server that `up` has started before")
        command.add_argument("name", choices=list(control.SERVERS))
        if name != "start":
            command.add_argument("--kill", action="store_true", help="send SIGKILL")
    return parser


if __name__ == "__main__":
    sys.exit(main())
