"""fastgrad against pure Python, NumPy and every installed peer: `python -m benchmarks [suite ...]`.

A suite is a module with a function `cases(quick)` that returns a list of `timing.Case`; `__main__.SUITES`
names them. Each ratio is the peer's time over fastgrad's, so above 1 fastgrad is the faster. Every side uses
all cores that the process may run on: `taskset -c 0 python -m benchmarks` compares one core with one core.
"""
