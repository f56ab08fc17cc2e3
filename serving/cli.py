"""`dqn-serve`: serve the policies of a model repository."""

import sys

from models import command
from serving import logs
from serving.server import serve
from serving.settings import read_settings


def _main() -> None:
    settings = read_settings(sys.argv[1:])
    logs.configure(settings.log_format)
    serve(settings)


def main() -> None:
    """Entry point of `dqn-serve`."""
    sys.exit(command.run(_main))
