"""A node that waits for work."""

from autonomy import Node

Node.start()
