"""For tests that fork, and kill what they have forked."""

from __future__ import annotations

import threading

from tqdm import tqdm


def lock_of_its_own() -> None:
    """To be called in a forked process that is to be killed.

    The lock around tqdm's bars is shared with all forked processes: one that is killed while it holds it would stop the
    others for good.
    """
    tqdm.set_lock(threading.RLock())
