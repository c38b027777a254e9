"""A process that makes hosts of network namespaces and carries the packets between them.

The interface of a host is a TUN device. The kernel hands its packets to this process, which loses,
delays or delivers them. tc netem would do the same, but many kernels of virtual machines are built
without it. This needs only network namespaces and /dev/net/tun.

Nothing of it is seen by the machine: the namespaces have no names, no interface joins them to
others, and the kernel removes them with their last process. When standard input ends, also because
the test was killed, this process kills all others in its namespaces and ends.

It runs as a script: ``python switch.py N``. The first line of its output says where the hosts are,
or why there are none. Each line of its input sets the `Link` of a host and is answered by a line.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import json
import math
import os
import random
import selectors
import signal
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Link", "decode_link", "encode_link"]

_INTERFACE = "eth0"
_NETWORK = "10.77.0"  # each switch has a network of its own, so that all may use the same addresses
_MASK = "255.255.255.0"
_LONGEST_QUEUE = 1.0  # seconds; a link drops packets that would wait longer
_LARGEST_PACKET = 65536
_CLONE_NEWNET = 0x40000000
# <linux/if_tun.h>, <linux/sockios.h>, <linux/if.h>
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFFLAGS, _IFF_UP = 0x8916, 0x891C, 0x8914, 0x0001
_TCP = 6
_SYN, _ACK = 0x02, 0x10


@dataclass(frozen=True, kw_only=True)
class Link:
    """What joins a host to the switch; delay, rate and loss hold for each of the two directions."""

    delay: float = 0.0  # seconds
    rate: float = math.inf  # bits a second
    loss: float = 0.0  # share of the packets
    cut: bool = False
    open_ports: tuple[int, ...] | None = None  # TCP ports that take connections from outside; None: all


def encode_link(host: int, link: Link) -> str:
    """Return the line that sets the link of a host."""
    return json.dumps({"host": host, **asdict(link)})


def decode_link(line: str) -> tuple[int, Link]:
    """Return the host and the link of a line."""
    told = json.loads(line)
    host, ports = told.pop("host"), told.pop("open_ports")
    return host, Link(**told, open_ports=None if ports is None else tuple(ports))


class _Host:
    """A network namespace, with the descriptor that is the other end of its only interface."""

    def __init__(self, number: int) -> None:
        self.address = f"{_NETWORK}.{number + 1}"
        self.link = Link()
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:  # os.unshare came with Python 3.12
            raise OSError(ctypes.get_errno(), f"unshare(CLONE_NEWNET): {os.strerror(ctypes.get_errno())}")
        self.namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        name = _INTERFACE.encode()
        fcntl.ioctl(self.device, _TUNSETIFF, struct.pack("16sH22x", name, _IFF_TUN | _IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for request, address in ((_SIOCSIFADDR, self.address), (_SIOCSIFNETMASK, _MASK)):
                packed = struct.pack("16sHH4s16x", name, socket.AF_INET, 0, socket.inet_aton(address))
                fcntl.ioctl(control, request, packed)
            for up in (b"lo", name):
                fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", up, _IFF_UP))


class _Way:
    """One direction of the link of a host: packets leave it one after another, and then are delayed."""

    def __init__(self, host: _Host, source: random.Random, *, inbound: bool) -> None:
        self._host = host
        self._source = source
        self._inbound = inbound
        self._free = 0.0

    def passed(self, packet: bytes, now: float) -> float | None:
        """Return the time at which a packet has passed; None if it is lost."""
        link = self._host.link
        if link.cut or self._source.random() < link.loss or (self._inbound and _is_refused(packet, link.open_ports)):
            return None
        begin = max(now, self._free)
        if begin > now + _LONGEST_QUEUE:
            return None
        self._free = begin + 8 * len(packet) / link.rate
        return self._free + link.delay


def _is_refused(packet: bytes, open_ports: tuple[int, ...] | None) -> bool:
    """Return whether a packet asks for a connection to a port that is not open."""
    if open_ports is None or packet[9] != _TCP:
        return False
    header = 4 * (packet[0] & 0x0F)
    port = int.from_bytes(packet[header + 2 : header + 4], "big")
    return packet[header + 13] & (_SYN | _ACK) == _SYN and port not in open_ports


class _Switch:
    """Takes packets from the devices and delivers them when they have passed both links."""

    def __init__(self, hosts: list[_Host]) -> None:
        source = random.Random(0)
        self._devices = {socket.inet_aton(host.address): host.device for host in hosts}
        self._outbound = {host.device: _Way(host, source, inbound=False) for host in hosts}
        self._inbound = {host.device: _Way(host, source, inbound=True) for host in hosts}
        # Time, number of the entry, packet, the ways still before it, device of the receiver.
        self._waiting: list[tuple[float, int, bytes, tuple[_Way, ...], int]] = []
        self._numbers = itertools.count()

    def take(self, device: int) -> None:
        """Take all packets that a host has sent."""
        while (packet := _read(device)) is not None:
            receiver = self._devices.get(packet[16:20]) if packet[0] >> 4 == 4 else None  # IPv4 only
            if receiver is not None:
                self._carry(packet, (self._outbound[device], self._inbound[receiver]), receiver, time.monotonic())

    def deliver(self) -> float | None:
        """Carry on the packets whose time has come; return the seconds until that of the next."""
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            now, _, packet, ways, receiver = heapq.heappop(self._waiting)
            self._carry(packet, ways, receiver, now)
        return max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None

    def _carry(self, packet: bytes, ways: tuple[_Way, ...], receiver: int, now: float) -> None:
        if not ways:
            os.write(receiver, packet)
            return
        passed = ways[0].passed(packet, now)
        if passed is None:
            return
        if passed > now:
            heapq.heappush(self._waiting, (passed, next(self._numbers), packet, ways[1:], receiver))
        else:
            self._carry(packet, ways[1:], receiver, now)


def _read(device: int) -> bytes | None:
    try:
        return os.read(device, _LARGEST_PACKET)
    except BlockingIOError:
        return None


def _kill_all(hosts: list[_Host]) -> None:
    """Kill the processes of the hosts, until there are none."""
    namespaces = {os.fstat(host.namespace).st_ino for host in hosts}
    while found := [pid for pid in _processes() if _namespace(pid) in namespaces]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _processes() -> list[int]:
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in numbers if pid != os.getpid()]


def _namespace(pid: int) -> int | None:
    """Return the inode of the network namespace of a process; None if it has ended."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def _serve(hosts: list[_Host]) -> None:
    """Carry packets until standard input ends."""
    switch, selector, buffer = _Switch(hosts), selectors.DefaultSelector(), b""
    commands = sys.stdin.fileno()
    for descriptor in (commands, *(host.device for host in hosts)):
        selector.register(descriptor, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select(switch.deliver()):
            if key.fd != commands:
                switch.take(key.fd)
                continue
            if not (piece := os.read(commands, 4096)):
                return
            *lines, buffer = (buffer + piece).split(b"\n")
            for line in lines:
                number, link = decode_link(line.decode())
                hosts[number].link = link
                _say({"set": number})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Make hosts, serve them, and remove them."""
    try:
        hosts = [_Host(number) for number in range(int(sys.argv[1]))]
    except OSError as error:
        _say({"refused": str(error)})
        return
    try:
        names = [f"/proc/{os.getpid()}/fd/{host.namespace}" for host in hosts]
        _say({"addresses": [host.address for host in hosts], "namespaces": names})
        _serve(hosts)
    finally:
        _kill_all(hosts)


if __name__ == "__main__":
    main()
