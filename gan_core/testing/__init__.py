"""The conformance kits: checks of the properties that every variant and every data set must have.

Under pytest:

    @parametrize_with_checks("hinge")
    def test_conformance(check: Check) -> None:
        check()

`parametrize_with_dataset_checks("shapes")` does the same for a data set. On the command line:
`python -m gan_core check hinge`, and `python -m gan_core check --dataset shapes`.
"""

from gan_core.testing.dataset_kit import DatasetCheck as DatasetCheck
from gan_core.testing.dataset_kit import dataset_checks_of as dataset_checks_of
from gan_core.testing.dataset_kit import parametrize_with_dataset_checks as parametrize_with_dataset_checks
from gan_core.testing.kit import Check as Check
from gan_core.testing.kit import checks_of as checks_of
from gan_core.testing.kit import parametrize_with_checks as parametrize_with_checks
from gan_core.testing.made_batch import made_batch as made_batch
from gan_core.testing.made_batch import terms_of as terms_of
