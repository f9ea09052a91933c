"""What kind of address one is."""

from __future__ import annotations

import importlib

from metaq.cluster import Cluster
from metaq.errors import UsageError

SCHEME = "zk://"


def is_cluster(address: str) -> bool:
    """Whether an address names a cluster by its ZooKeeper, and not one broker."""
    if not isinstance(address, str):
        raise UsageError(f"the address {address!r}: it is host:port, or zk://host:2181 for a cluster")
    return address.startswith(SCHEME)


def open_cluster(address: str) -> Cluster:
    """The cluster of an address. It connects in the background."""
    try:
        zk = importlib.import_module("metaq.zk")
    except ImportError as err:
        raise UsageError(f"{address}: a cluster takes kazoo: pip install 'kazoo>=2.9'") from err
    cluster: Cluster = zk.open_cluster(address)
    return cluster
