"""Python in a process of its own, for checks that must not share imports, threads or random state with the caller."""

import os
import signal
import subprocess
import sys

MAX_SECONDS = 600
"""A check that takes longer fails."""


def run_python(*arguments: str, **environment: str) -> None:
    """Runs Python with these arguments and environment variables.

    Raises:
        AssertionError: It failed, or took more than `MAX_SECONDS`; the message has its output.
    """
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # So that what it starts can be killed with it.
    )
    try:
        output, _ = process.communicate(timeout=MAX_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise AssertionError(
            f"it takes more than {MAX_SECONDS} s: name options of small networks, as in Variant(small={{'width': 8}})"
        ) from None
    # The cause stands first.
    assert process.returncode == 0, f"{' '.join(arguments[:3])} failed: {output.strip()[:4000]}"
