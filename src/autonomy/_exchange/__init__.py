"""What the workers of two nodes have to say to each other: messages with places granted ahead, requests, watches.

Between the actor wing, which knows mailboxes and no network, and the links, which know bytes and no workers. All that
it sees of a far node is a `Wire`. Read `partner` for one far node, `outgoing` for what this node wants of it, and
`incoming` for what it wants of this one. The words themselves are in `_sansio/cargo.py`.
"""
