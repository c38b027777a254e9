"""Help for testing dsgd and what is built on it: known optima, numpy references, networks with faults.

It imports `dsgd.losses` and what lies below it.
"""

from dsgd.testing.faulty_stream import NetworkFaults
from dsgd.testing.optimum import make_known_optimum
from dsgd.testing.proxy import Proxy

__all__ = ["NetworkFaults", "Proxy", "make_known_optimum"]
