"""The command line: `python -m deploy.local up|down|status|start|stop|restart`."""

import argparse
import sys

from deploy.local import control
from deploy.local.install import say
from deploy.local.server import Trouble


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 1 with a reason when it couldn't."""
    chosen = _parser().parse_args(arguments)
    try:
        return _run(chosen)
    except Trouble as reason:
        sys.stderr.write(f"{reason}\n")
        return 1


def _run(chosen: argparse.Namespace) -> int:
    if chosen.command == "status":
        return 0 if control.status() else 1
    if chosen.command == "up":
        say(control.environment_text(control.up(chosen.offset, own=chosen.own)).rstrip())
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
    up = commands.add_parser("up", help="make all four servers answer on 127.0.0.1")
    up.add_argument("--offset", type=int, default=0, help="shift the standard ports by this")
    up.add_argument("--own", action="store_true", help="use none that was started elsewhere")
    commands.add_parser("down", help="stop what `up` started")
    commands.add_parser("status", help="ask each server; exit code 1 when one doesn't answer")
    for name, text in {"start": "a stopped server", "stop": "a server", "restart": "it"}.items():
        command = commands.add_parser(name, help=f"{name} {text} that `up` started")
        command.add_argument("name", choices=list(control.SERVERS))
        if name != "start":
            command.add_argument("--kill", action="store_true", help="end it with SIGKILL")
    return parser


if __name__ == "__main__":
    sys.exit(main())
