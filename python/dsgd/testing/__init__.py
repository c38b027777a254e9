"""Help for testing dsgd and what is built on it."""

from dsgd.testing.faulty_stream import NetworkFaults
from dsgd.testing.proxy import Proxy

__all__ = ["NetworkFaults", "Proxy"]
