"""What the library costs, measured against programs written by hand for the same work.

A program, not a part of the package: ``python -m benchmarks`` runs it. `local` holds the library's side of each
workload in Trio and `hosted` that in asyncio programs, both through its public names and with default options alone;
`raw` and `raw_asyncio` the hand-written sides, tuned as their own author would; `undriven` sets the library against
itself; `measure` says how two things are measured fairly; `workloads` joins them and knows the goals. What the figures
mean is in ``docs/explanation/performance.md``. No test asserts a time.
"""
