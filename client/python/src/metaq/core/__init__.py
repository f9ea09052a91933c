"""What both faces share: it runs on one asyncio event loop, that of the program (`metaq.aio`) or one in a thread of its own (`metaq`), and takes no locks.

connection.py   requests and answers on one connection; ways.py keeps one to each broker
sending.py      a message on its way; lane.py the way to one broker, breaker.py whether it is avoided; producing.py what a producer is
reader.py       follows one partition; batch.py what it hands over; offsets.py where a group goes on; consuming.py what a consumer is
thread.py       the loop in a thread
"""
