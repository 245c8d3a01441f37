"""What the library costs, measured against Trio programs written by hand for the same work.

A program, not a part of the package: ``python -m benchmarks`` runs it. `local` holds the library's side of each
workload, through its public names and with default options alone; `raw` the hand-written side, tuned as its own author
would; `measure` says how two things are measured fairly; `workloads` joins the three and knows the goals. What the
figures mean is in ``docs/explanation/performance.md``. No test asserts a time.
"""
