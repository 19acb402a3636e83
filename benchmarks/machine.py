"""What the figures were measured on: processor, cores, instruction set and versions."""

import contextlib
import io
import platform
import sys

import numpy as np

import fastgrad as fg

from . import peers


def describe(names: list[str]) -> dict[str, str]:
    """What to say first; `names` are the peers asked for."""
    found = [name for name in names if name in peers.OPTIONAL and peers.installed(name)]
    return {
        "cpu": _cpu_model(),
        "cores": f"{peers.cores()} usable, all used by every side; fastgrad {fg.get_num_threads()} threads",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "fastgrad": f"{getattr(fg, '__version__', 'unknown')} {_config()}".strip(),
        "peers": ", ".join(f"{name} {peers.version(name)}" for name in found) or "none",
        "missing": ", ".join(name for name in names if not peers.installed(name)) or "none",
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _config() -> str:
    """What `show_config` returns or prints, on one line."""
    show = getattr(fg, "show_config", None)
    if show is None:
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        returned = show()
    text = printed.getvalue() or str(returned)
    return "(" + "; ".join(" ".join(line.split()) for line in text.splitlines() if line.strip()) + ")"
