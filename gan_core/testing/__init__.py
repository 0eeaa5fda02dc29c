"""The conformance kit: checks of the properties that every variant must have, for first- and third-party plugins.

Under pytest:

    @parametrize_with_checks("hinge")
    def test_conformance(check: Check) -> None:
        check()

On the command line: `python -m gan_core check hinge`.
"""

from gan_core.testing.kit import Check as Check
from gan_core.testing.kit import checks_of as checks_of
from gan_core.testing.kit import parametrize_with_checks as parametrize_with_checks
from gan_core.testing.made_batch import made_batch as made_batch
