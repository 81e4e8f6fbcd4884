"""Write `streams/asyncapi.yaml`; `just asyncapi` runs it."""

import sys
from pathlib import Path
from typing import Any, Final

import yaml

from streams.asyncapi.document import document

FILE: Final = Path(__file__).resolve().parents[1] / "asyncapi.yaml"


class _Dumper(yaml.SafeDumper):
    """Writes each value out where it stands, without YAML's anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Treat equal objects as separate ones."""
        return True


def text() -> str:
    """Return the document as YAML."""
    made = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"# Generated from the code by `just asyncapi`.\n{made}"


if __name__ == "__main__":
    FILE.write_text(text())
    sys.stdout.write(f"wrote {FILE.name}\n")
