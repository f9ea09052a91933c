"""Client of the message broker MetaQ.

This module has the blocking face: Producer, Consumer, Connection. `metaq.aio` has the same names for asyncio. Addresses are host:port of a broker that
stands alone, or zk://host:2181,... of a cluster, which takes `pip install metaq[zk]`.
"""
