"""What the library costs, measured against programs written by hand for the same work.

A program, not a part of the package: ``python -m benchmarks`` runs it. `local` holds the library's side of each
workload in Trio, `hosted` that in asyncio programs and `remote` that between two processes, all through its public
names and with default options alone; `raw`, `raw_asyncio` and `raw_links` hold the hand-written sides, tuned as their
own author would; `far_side` runs the second process of either; `undriven` sets the library against itself; `measure`
says how two things are measured fairly; `workloads` joins them and knows the goals. What the figures mean is in
``docs/explanation/performance.md``. No test asserts a time.
"""
