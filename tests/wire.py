"""A wire between two addresses that keeps all bytes that pass."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Address", "free_port", "watched_wire"]

Address = tuple[str, int]


def free_port() -> int:
    """Return a port at which nobody listens, and that the system gives nobody who asks for any free one."""
    first_of_system = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = range(10_000, first_of_system - 20)
    while True:
        port = random.choice(ports)
        with contextlib.suppress(OSError), socket.create_server(("0.0.0.0", port)):
            return port


@contextlib.contextmanager
def watched_wire(front: Address, behind: Address) -> Iterator[list[list[bytes]]]:
    """Pass connections to `front` on to `behind`; yield the bytes of each: those of the caller, and the answers."""
    kept: list[list[bytes]] = []
    threads: list[threading.Thread] = []
    with socket.create_server(front) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def accept() -> None:
            while not over.is_set():
                try:
                    caller, _ = listener.accept()
                except TimeoutError:
                    continue
                kept.append([b"", b""])
                threads.append(threading.Thread(target=_pass_on, args=(caller, behind, kept[-1], over)))
                threads[-1].start()

        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield kept
        finally:
            over.set()
            for thread in threads:
                thread.join()


def _pass_on(caller: socket.socket, behind: Address, kept: list[bytes], over: threading.Event) -> None:
    with caller, contextlib.suppress(OSError), socket.create_connection(behind) as server:
        ends = [caller, server]
        while not over.is_set():
            for end in select.select(ends, [], [], 0.1)[0]:
                data = end.recv(1 << 16)
                kept[ends.index(end)] += data
                ends[1 - ends.index(end)].sendall(data)
                if not data:
                    return
