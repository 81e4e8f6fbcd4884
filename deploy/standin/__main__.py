"""`python -m deploy.standin` is `killstream standin`."""

import typer

from deploy.cli.standin import standin

typer.run(standin)
