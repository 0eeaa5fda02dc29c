"""The command line. Nothing heavy is imported before a command needs it."""

from gan_core.distributed.waiting import STARTED as STARTED

# isort: split
# What is above measures how busy the machine is, from the start of the command on.
from gan_core.cli.app import main as main
