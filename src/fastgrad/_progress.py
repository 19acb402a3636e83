"""A progress bar for long calls: tqdm's when it is installed, else a plain line on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """Counts on a bar what is finished; a context manager that closes it however the call ends."""

    def __init__(self, total: int, what: str, unit: str = "instance") -> None:
        self.total, self.what, self.done = total, what, 0
        self.bar: Any = None
        self.start = self.last = time.monotonic()
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return
        self.bar = tqdm(total=total, desc=what, unit=unit, smoothing=0)

    def __call__(self, done: int) -> None:
        """Show that so many are finished."""
        if self.bar is not None:
            self.bar.update(done - self.done)
        elif time.monotonic() - self.last > 0.1 or done == self.total:
            self.last = time.monotonic()
            text = f"\r{self.what}: {done:,} of {self.total:,} ({self.last - self.start:.1f} s)"
            print(text, end="", file=sys.stderr, flush=True)
        self.done = done

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()
        else:
            print(file=sys.stderr)
