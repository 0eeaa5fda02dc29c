"""The command line. Nothing heavy is imported before a command needs it."""

from gan_core.cli.app import main as main
