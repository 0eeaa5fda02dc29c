"""The conformance kit: what every variant must do, whoever wrote it.

Under pytest, in one line:

    @parametrize_with_checks("hinge")
    def test_conformance(check: Check) -> None:
        check()

and without it: `python -m gan_core check hinge`.
"""

from gan_core.testing.kit import Check as Check
from gan_core.testing.kit import checks_of as checks_of
from gan_core.testing.kit import parametrize_with_checks as parametrize_with_checks
