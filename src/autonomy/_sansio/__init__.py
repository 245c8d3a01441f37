"""Values and state machines: what can be decided without waiting.

The rule on the door: no trio, asyncio, socket, ssl, threading, time, random or logging in here. Time comes in as `now`.
"""
