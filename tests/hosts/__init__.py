"""Several hosts on one machine: network namespaces, and wires between them that can be slow, lossy, cut and moved.

Rooms, from the ground up: `fabric` decides which frame goes where and when; `switch` is the process that owns the ends
of all wires, and carries what `fabric` says; `lan` is what tests hold. Nothing here has a name that others could
find, and all of it ends with the process that began it, however that ends: the kernel takes namespaces away that
nobody is in.
"""
