"""Every method with every way of pooling that it has: what a law of similarities is tried on."""

from naaflib.config import METHODS, PooledSettings

POOLED = [
    (method, pooling)
    for method, kind in METHODS.items()
    for pooling in (("mean", "lse") if issubclass(kind, PooledSettings) else ("mean",))
]
