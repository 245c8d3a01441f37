"""The command: arguments become one call, errors one line and an exit code.

`command` is where it starts, `zone` has what it does with zones, `manifests` writes them
for other machines, `shown` how that looks.
"""
