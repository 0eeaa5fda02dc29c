"""The protocol of an evaluation: what its metrics depend on besides the generator.

Metrics are comparable only if all of it but the provenance and the version is the same.
"""

from typing import Any, Final

from gan_core.features.real_data import RealData
from gan_core.features.space import FeatureSpace
from gan_core.version import __version__

STANDARD: Final = "standard"
FID50K: Final = "fid50k"


def protocol(name: str, data: RealData, features: str, space: FeatureSpace | str, **counts: int) -> dict[str, Any]:
    """Returns the entries of the protocol.

    Args:
        name: The protocol's name.
        data: The real images.
        features: The feature space's name.
        space: The feature space, or the reason why it is not available.
        counts: Numbers that the metrics depend on, by name.
    """
    spec, image = data.dataset.spec, data.dataset.spec.image()
    return {
        "name": name,
        "dataset": spec.name,
        "image_size": image.height if image.height == image.width else [image.height, image.width],
        "channels": image.channels,
        "data": data.read("train").fingerprint,
        "features": features,
        "features_hash": None if isinstance(space, str) else space.fingerprint,
        "provenance": space if isinstance(space, str) else space.provenance,
        **counts,
        "gan_core": __version__,
    }
