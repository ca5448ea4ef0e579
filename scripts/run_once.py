"""Run train.py for a folder, once: what is finished is skipped, what was broken off goes on.

python scripts/run_once.py FOLDER --identity=TEXT [--makes DIR GLOB] -- train.py ARGUMENT...

The folder is claimed before anything is written into it; while another driver has it, this one waits and looks again.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the library beside which train.py stands, not another
from caspl.errors import CasPLError
from caspl.files import Claim, write_atomically

RESULT = "result.json"
COMMAND = "command.txt"
BUSY = 75
"""Exit code where another process fills the folder; elsewhere a program's way to say that it is to be tried again."""


def run_once(
    folder: Path, identity: str, command: Sequence[str], makes: tuple[Path, str] | None = None, waits: bool = True
) -> int:
    """Run a command that fills a folder, unless it has done so; returns its exit code.

    Args:
        folder: of the run.
        identity: what tells this run from one of other arguments.
        command: for the interpreter that runs this.
        makes: a folder and a pattern of files in it that the run leaves elsewhere; without one, it is done anew.
        waits: for another process that fills the folder; else the code is BUSY.

    Raises:
        CasPLError: the folder holds a run of other arguments, or cannot be written.
    """
    claim = Claim.within(folder, "train.py")
    if not is_done(folder, identity, makes):
        if waits:
            claim.wait(say=lambda sentence: print(sentence, file=sys.stderr, flush=True))
        elif not claim.try_take():
            return BUSY
        with claim:
            if not is_done(folder, identity, makes):
                answers = [folder / f"{name}.csv" for name in ("predictions", "classes", "confusion")]
                for former in (folder / RESULT, *answers, *folder.glob("evaluations/*")):
                    former.unlink(missing_ok=True)
                content = os.fsencode(identity + "\n")
                write_atomically(folder / COMMAND, lambda temporary: Path(temporary).write_bytes(content))
                return call([sys.executable, *command], os.environ | claim.environment())
    print(f"done before: {folder}")
    return 0


def is_done(folder: Path, identity: str, makes: tuple[Path, str] | None) -> bool:
    """Whether the run is finished.

    Raises:
        CasPLError: another one is, or has begun.
    """
    finished = (folder / RESULT).is_file()
    begun = (folder / "resume.pt").is_file() or any(folder.glob("*/checkpoint"))
    if not finished and not begun:  # perhaps a command that was refused
        return False
    path = folder / COMMAND
    kept = os.fsdecode(path.read_bytes()).rstrip("\n") if path.is_file() else None
    # One that has begun without a driver is judged by train.py, by its config.
    if kept != identity.rstrip("\n") and (finished or kept is not None):
        raise CasPLError(
            f"{folder} holds a run of other arguments (see {COMMAND} there); use another OUTPUT, or delete it"
        )
    return finished and (makes is None or any(makes[0].glob(makes[1])))


def call(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command, which gets SIGINT and SIGTERM, too; returns its exit code, 128 and more where a signal ends it."""
    started: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        if not started:
            early.append(number)
        elif number != signal.SIGINT or not _is_typed():
            started[0].send_signal(number)

    # What is ignored stays so, for the command as well.
    numbers = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        started.append(subprocess.Popen(command, env=environment))
        for number in early:
            started[0].send_signal(number)
        code = started[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _is_typed() -> bool:
    """Whether a SIGINT of this moment is a terminal's: that interrupts the command as well, and once is enough."""
    if os.name == "nt":
        return True
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: that of train.py, 2 for wrong input, 130 when interrupted before it runs."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path, metavar="FOLDER", help="of the run")
    p.add_argument("--identity", required=True, metavar="TEXT", help="what tells it from a run of other arguments")
    p.add_argument("--makes", nargs=2, metavar=("DIR", "GLOB"), help="files without which a finished run is done anew")
    p.add_argument("--no-wait", action="store_true", help=f"end with code {BUSY} where another process fills FOLDER")
    args = p.parse_args(given[:end])
    command = given[end + 1 :]
    if not command:
        p.error("there is no command: put it behind --")
    try:
        makes = (Path(args.makes[0]), args.makes[1]) if args.makes else None
        return run_once(args.folder, args.identity, command, makes, not args.no_wait)
    except CasPLError as error:
        print("error:", error, file=sys.stderr)
    except OSError as error:
        print(f"error: {error.filename or args.folder} cannot be used: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
