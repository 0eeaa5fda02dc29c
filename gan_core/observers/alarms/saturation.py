"""An alarm when a discriminator tells all real images from all generated ones."""

from collections.abc import Mapping

from gan_core.observers.alarms.watch import Watch
from gan_core.observers.listener import Alarm

_MARGIN = 0.01
"""How far D(real) may be from 1, and D(fake) from 0. A critic's scores, which have no bounds, do not stay there."""
_IMAGES, _POINTS = 20_000, 5
"""For how many images, and log points, it must be so: a discriminator may be far ahead for a while."""


class Saturation(Watch):
    """Finds a discriminator whose D(real) stays at 1 and D(fake) at 0: its gradient says little to the generator."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        self._points: dict[str, int] = {}

    def log(self, line: Mapping[str, float]) -> Alarm | None:
        """Looks at the outputs of every discriminator."""
        seen = int(line["images_seen"])
        for name in (key.removesuffix("/D(real)") for key in line if key.endswith("/D(real)")):
            real, fake = line[f"{name}/D(real)"], line.get(f"{name}/D(fake)", 1.0)
            if abs(real - 1.0) > _MARGIN or abs(fake) > _MARGIN:
                self._since.pop(name, None)
                self._points.pop(name, None)
                continue
            since = self._since.setdefault(name, seen)
            before = self._points.get(name, 0)
            if before < 0:  # It has been told.
                continue
            self._points[name] = before + 1
            if before + 1 >= _POINTS and seen - since >= _IMAGES:
                self._points[name] = -1
                return Alarm(
                    kind="saturated discriminator",
                    since=since,
                    at=seen,
                    seen=f"{name} has D(real) {real:.3f} and D(fake) {fake:.3f}, "
                    f"at their limits for {(seen - since) / 1000:g} kimg",
                    remedies=(
                        "a lower learning rate for the discriminator, or fewer of its updates",
                        "a gradient penalty such as R1, or one-sided label smoothing, if the variant has them",
                    ),
                )
        return None
