"""On the zone's machine: make the zone, or renew it, and write credentials for nodes: `python zone.py kitchen shop`."""

import sys
from pathlib import Path

from autonomy.identity import ZoneAuthority

zone = Path("zone")
if not (zone / "authority").exists():
    ZoneAuthority.create(zone / "authority", "bakery.example")
authority = ZoneAuthority(zone / "authority")
authority.sign_crl()  # the list of what was revoked, good for a day
for name in sys.argv[1:]:
    authority.credentials(name).save(zone / name)
    print("credentials for", name, "are in", zone / name)
