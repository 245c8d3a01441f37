import trio, logging, pytest
from tests.zone import *
from tests.links.memory import *
from tests.workers import Sleeper


@pytest.mark.parametrize("net", [FaultyNetwork, MemoryNetwork])
async def test_one(autojump_clock, caplog, net):
    caplog.set_level(logging.DEBUG)

    class H(logging.Handler):
        def emit(self, r):
            print(round(trio.current_time(), 3), r.getMessage())

    h = H()
    logging.getLogger("autonomy").addHandler(h)
    network = net()
    async with two_nodes(network) as (a, b):
        await trio.sleep(12)
    logging.getLogger("autonomy").removeHandler(h)
