"""A zone as processes on this machine, or as manifests for others.

`zone_file.py` and `dockerfile.py` read what somebody wants, `images.py` keeps a copy of it. `local.py` makes it so
within a Trio program; `supervisor.py` does that in a process of its own, which the functions of `deploying.py` start
and talk to. `guard.py` is the parent of each container's process, and sees to it that nothing outlives the zone.

`manifests.py`, `kubernetes.py` and `compose.py` make documents of a zone file, which somebody else's machines run.

Nothing here knows what a node is: a container is a program that is told, by environment variables and a file, which
node it should be. Read on in `local.py`.
"""
