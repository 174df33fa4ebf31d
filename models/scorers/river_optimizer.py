"""River's FTRL without its detour: the same numbers, several times as fast.

Imported only where River learns. River's own step goes through `numpy.sign` for each weight, which turns
every number it keeps into a numpy scalar; without L1 the term is zero and plain floats do.
"""

from typing import Any

from river import optim


class PlainFTRL(optim.FTRLProximal):
    """FTRL-Proximal with `l1 = 0`, in plain floats. McMahan et al., "Ad click prediction", KDD 2013."""

    def __init__(self, alpha: float, l2: float) -> None:
        super().__init__(alpha=alpha, l1=0.0, l2=l2)

    def _step_with_dict(self, w: Any, g: Any) -> Any:
        alpha, beta, l2 = self.alpha, self.beta, self.l2
        z: Any = self.z
        n: Any = self.n
        for name, slope in g.items():
            pull, seen = z[name], n[name]
            root: float = seen**0.5
            if pull:
                weight = w[name] = -(((beta + root) / alpha + l2) ** -1) * pull
            else:
                weight = w[name]
            squared = slope * slope
            z[name] = pull + (slope - ((seen + squared) ** 0.5 - root) / alpha * weight)
            n[name] = seen + squared
        return w
