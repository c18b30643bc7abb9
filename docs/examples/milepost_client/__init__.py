"""A client of Milepost to copy into a program: needs Python >= 3.11 on POSIX, and aiohttp."""

from milepost_client.client import Client, Counters, Subject
from milepost_client.hold import Away, Denied, Guard, Held
from milepost_client.threaded import ThreadedClient

__all__ = ["Away", "Client", "Counters", "Denied", "Guard", "Held", "Subject", "ThreadedClient"]
