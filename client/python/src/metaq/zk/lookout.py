"""What a thread follows in ZooKeeper."""

from __future__ import annotations

from typing import Callable, Optional

from metaq.zk.session import Look, Node, Session


class Watched:
    """A node that is followed: its data, or the names below it."""

    def __init__(self, path: str, children: bool, changed: Callable[[], None]) -> None:
        self.path = path
        self.children = children
        self.known = False
        self.node: Optional[Node] = None  # what was seen last; None: it was not there, or is not known
        self._stale = True
        self._changed: Optional[Callable[[], None]] = changed

    @property
    def stale(self) -> bool:
        """Whether it may have changed since it was seen last."""
        return self._stale

    def look(self) -> Look:
        """The question that is to be asked. What changes from now on makes it stale again."""
        self._stale = False
        return Look(self.path, self.children, self.grow_stale)

    def see(self, node: Optional[Node]) -> None:
        """Takes the answer."""
        self.known, self.node = True, node

    def grow_stale(self) -> None:
        """It may have changed."""
        self._stale = True
        if self._changed is not None:
            self._changed()

    def forget(self) -> None:
        """Ends it. The library keeps a watch until it fires, and then it says nothing."""
        self._changed = None


class Lookout:
    """The nodes that one thread follows. Whatever happens makes some of them stale and wakes it; then it reads those again, so nothing is missed."""

    def __init__(self, session: Session, wake: Callable[[], None]) -> None:
        self._session = session
        self._wake = wake
        self._watched: dict[tuple[str, bool], Watched] = {}
        self._client: object = None

    def data(self, path: str) -> Watched:
        """Follows the data of a node that may be there or not."""
        return self._follow(path, children=False)

    def children(self, path: str) -> Watched:
        """Follows the names below a node that may be there or not."""
        return self._follow(path, children=True)

    def _follow(self, path: str, *, children: bool) -> Watched:
        key = path, children
        if key not in self._watched:
            self._watched[key] = Watched(path, children, self._wake)
        return self._watched[key]

    def keep(self, wanted: set[Watched]) -> None:
        """Follows these alone from now on."""
        for key, watched in list(self._watched.items()):
            if watched not in wanted:
                watched.forget()
                del self._watched[key]

    def refresh(self) -> None:
        """Reads what may have changed. With an error it is read again the next time."""
        client = self._session.client
        everything = client is not self._client
        some = [w for w in self._watched.values() if w.stale or everything]
        try:
            for watched, node in zip(some, self._session.look([w.look() for w in some])):
                watched.see(node)
        except BaseException:
            for watched in some:
                watched.grow_stale()
            raise
        self._client = client
