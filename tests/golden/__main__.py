"""Prints the digests of what is published now; `--write` keeps them."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import get_args

from pipelines.demo.source_schema import Generation
from pipelines.embedded.postgres import EmbeddedPostgres
from tests.golden import DIGESTS, digests_of


def main() -> None:
    """Runs the pipeline for each generation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"renew {DIGESTS.name}")
    arguments = parser.parse_args()
    digests = {}
    with tempfile.TemporaryDirectory(prefix="flakelag-golden-") as temporary:
        server = EmbeddedPostgres(Path(temporary, "pg"))
        server.start()
        try:
            for generation in get_args(Generation):
                folder = Path(temporary, generation)
                folder.mkdir()
                digests[generation] = digests_of(generation, server, folder)
        finally:
            server.stop()
    text = json.dumps(digests, indent=2, sort_keys=True) + "\n"
    sys.stdout.write(text)
    if arguments.write:
        DIGESTS.write_text(text)


if __name__ == "__main__":
    main()
