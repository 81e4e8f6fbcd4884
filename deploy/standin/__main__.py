"""`python -m deploy.standin` is `killstream standin`."""

import typer

from deploy.standin.command import standin

typer.run(standin)
