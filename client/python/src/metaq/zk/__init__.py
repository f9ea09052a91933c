"""All that the client does with ZooKeeper: the tree of Metamorphosis 1.4.6, the session, what is watched, and the members of groups.

Layout and the values of `data` say how nodes are named and what is in them, so that members written in Java, Go and Python understand
each other; `assign` deals partitions out as all of them do. These are pure functions, tested with what the Go code does.

A Session is a connection that is opened again for as long as it is wanted. It counts as lost when no server has answered for two thirds of
its time-out: whoever must not act on what others may own by now stops there. A Directory follows who has a topic. A Member shares the
partitions of a group with the others. Offsets keep how far the group has come.

Only `session` imports kazoo, which the extra `zk` of this package brings.
"""

from __future__ import annotations

import logging

from metaq.cluster import Cluster
from metaq.errors import UsageError
from metaq.zk.address import parse_cluster_address

# A program that has not set up logging is not told of every broken connection; what matters is an error of what it calls.
logging.getLogger("metaq.zk").addHandler(logging.NullHandler())


def open_cluster(address: str) -> Cluster:
    """Opens what an address such as zk://host:2181,host:2181 names. It connects in the background.

    UsageError is about the address, or says that kazoo is missing.
    """
    at = parse_cluster_address(address)
    try:
        from metaq.zk.coordinator import Coordinator
    except ImportError as e:
        raise UsageError(f"{address}: a cluster takes kazoo: pip install 'kazoo>=2.9' ({e})") from e
    return Coordinator(at)
