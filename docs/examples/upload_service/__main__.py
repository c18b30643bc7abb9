"""`python -m upload_service`: serves until it is stopped."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from aiohttp import web

from upload_service import service


def main() -> None:
    """Read the options, and serve."""
    parser = argparse.ArgumentParser(prog="upload_service", description="Diagrams, uploaded within a quota.")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--state", type=Path, default=Path(".uploads"), help="folder of the diagrams and the spool")
    parser.add_argument("--milepost", default=os.environ.get("MILEPOST_URL", "http://127.0.0.1:8080"), metavar="URL")
    parser.add_argument(
        "--outage", choices=["open", "closed"], default="open", help="uploads while Milepost cannot be asked"
    )
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds that an upload waits for a decision")
    options = parser.parse_args()
    key = os.environ.get("MILEPOST_KEY")
    if not key:
        parser.error("set MILEPOST_KEY to a service key with the scopes ingest and read")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    state: Path = options.state
    app = service.make(options.milepost, key, state / "diagrams", state / "spool", options.outage, options.timeout)
    web.run_app(app, host="127.0.0.1", port=options.port, access_log=None)


if __name__ == "__main__":
    main()
