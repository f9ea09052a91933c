"""The same names as in `metaq`, for asyncio. Everything runs on the event loop of the program, which has to be running when one is made."""

from metaq.aio.connection import Connection
from metaq.aio.consumer import Consumer
from metaq.aio.producer import Delivery, Producer

__all__ = ["Connection", "Consumer", "Delivery", "Producer"]
