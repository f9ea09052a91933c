"""Addresses of clusters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from metaq.errors import UsageError
from metaq.zk.layout import DEFAULT_ROOT, Layout

SCHEME = "zk://"
"""begins the address of a cluster, where that of a broker alone is host:port."""

DEFAULT_PORT = 2181


@dataclass(frozen=True)
class ClusterAddress:
    """Where a cluster is."""

    servers: str
    """of ZooKeeper: host:port,host:port"""
    chroot: str
    """in front of all paths, without a slash at its end; "" if there is none"""
    root: str
    """of the tree below it, without a slash at its end"""

    @property
    def layout(self) -> Layout:
        """Names the nodes from the root of ZooKeeper on."""
        return Layout(self.chroot + self.root)


def parse_cluster_address(text: str) -> ClusterAddress:
    """Reads `zk://host[:port],host[:port]...[/chroot][?root=/meta]`; UsageError says what is wrong."""
    if not text.startswith(SCHEME):
        raise UsageError(f"{text!r} is no address of a cluster, such as zk://host:2181,host:2181")
    connect, _, query = text[len(SCHEME) :].partition("?")
    hosts, slash, path = connect.partition("/")
    chroot = (slash + path).rstrip("/")
    root = DEFAULT_ROOT
    try:
        _check_path(chroot)
        servers = [_with_port(host.strip()) for host in hosts.split(",") if host.strip()]
        if not servers:
            raise ValueError("there is no server in it; want host:port,host:port")
        for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
            if name != "root":
                raise ValueError(f"there is no parameter {name!r}; only ?root=/PATH may follow the address")
            root = value.rstrip("/")
            _check_path(root)
    except ValueError as e:
        raise UsageError(f"zookeeper {text!r}: {e}") from None
    return ClusterAddress(",".join(servers), chroot, root)


_NAME_AND_PORT = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")


def _with_port(host: str) -> str:
    if host.count(":") > 1 and not host.startswith("["):
        raise ValueError(f"{host!r}: an IPv6 address stands in brackets")
    match = _NAME_AND_PORT.fullmatch(host)
    port = int(match[2] or DEFAULT_PORT) if match else 0
    if not match or not 0 < port < 65536:
        raise ValueError(f"{host!r} is no host:port")
    return f"{match[1]}:{port}"


def _check_path(path: str) -> None:
    """Accepts "" and an absolute path with no empty name."""
    if not path:
        return
    if not path.startswith("/"):
        raise ValueError(f"{path!r}: a path begins with a slash")
    for name in path[1:].split("/"):
        if name in ("", ".", "..") or any(c < " " or c == "\x7f" for c in name):
            raise ValueError(f"a path has no part {name!r}")
