"""Run what a table of the papers takes, and print the table.

    python scripts/reproduce.py base2new --datasets eurosat dtd --methods CoOp CasPL_CoOp --seeds 1 2 3
    python scripts/reproduce.py few_shot --dry-run
    python scripts/reproduce.py base2new --jobs 4
    python scripts/reproduce.py tiny --jobs 2

Finished runs are skipped, broken-off ones go on, and a run that fails takes only those along that need it. The same
command goes on from wherever it was ended; several of them on one output folder share the work. What a run prints goes
to OUTPUT/logs. From the environment: DATA, OUTPUT, SEEDS, METHODS, SHOTS, CFG, LABEL, BOOST_CFG, BOOST_LABEL,
BOOST_SEED, BOOST_OPTIONS, TARGET_BOOSTING and PLUGIN.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the library beside which train.py stands, not another
import estimate
import preflight
import show
from cluster import Cluster
from run_once import RESULT, is_done
from side_by_side import Executor
from yacs.config import CfgNode

from caspl.errors import CasPLError
from caspl.protocols import Part, Request, Run, parts_of, plan_all, read_protocol, table_names

REPO = Path(__file__).resolve().parents[1]
INTERRUPTED = 130
ALL_IMAGES = -1
"""Instead of a number of shots."""


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "table", metavar="TABLE", help=f"{', '.join(table_names())}, or a .yaml of your own (docs/reproduce.md)"
    )
    add = p.add_argument
    add("--datasets", nargs="+", default=[], metavar="NAME", help="in configs/datasets, or paths of .yaml files")
    add("--methods", nargs="+", default=[], metavar="TRAINER", help="default: those of the paper's table")
    add("--seeds", nargs="+", type=int, default=[], metavar="N", help="default: $SEEDS, else 1")
    add("--shots", nargs="+", type=int, default=[], metavar="K", help="default: $SHOTS, else the protocol's")
    add("--targets", nargs="+", default=[], metavar="NAME", help="data sets to test on, where there are others")
    add("--only", nargs="+", default=[], metavar="NAME", help="of a table of ablations")
    add("--full", action="store_true", help="of tiny: all methods, three seeds, all ablations")
    add(
        "--target-boosting",
        action="store_true",
        default=os.environ.get("TARGET_BOOSTING", "") not in ("", "0"),
        help="test cascades on other data sets with boosting tokens from unlabelled images of those; in rows apart",
    )
    add("--root", default=os.environ.get("DATA", "data"), metavar="DIR", help="of the data sets; default: $DATA")
    add("--output", default=os.environ.get("OUTPUT", "output"), metavar="DIR", help="default: $OUTPUT, else output")
    add("--jobs", type=int, metavar="N", help="runs at a time, on a GPU each where there are several; default: 1")
    add(
        "--slurm",
        nargs="*",
        metavar="KEY=VALUE",
        help="let runs be jobs of a cluster, at most --jobs at a time (default: 100), with settings of submitit's, "
        "e.g. slurm_partition=gpu gpus_per_node=1 cpus_per_task=8 timeout_min=600; a -- ends them",
    )
    add("--dry-run", action="store_true", help="only print the commands of the runs that are missing")
    add("--check", action="store_true", help="only compare weights, data and zero-shot CLIP with what is published")
    add("--no-check", action="store_true", help="do not compare them before the first run")
    add("--estimate", action="store_true", help="only say how much work it is, and how long that takes here")
    add("--show", action="store_true", help="let runs print here, not into OUTPUT/logs; for one job")
    add("options", nargs="*", metavar="KEY VALUE", help="config pairs of the adapting runs")
    return p


def request_of(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Request:
    """What the command line and the environment ask for.

    Raises:
        CasPLError: they ask for what there is not.
    """

    def words(name: str) -> list[str]:
        return environment.get(name, "").split()

    def numbers(name: str) -> tuple[int, ...]:
        for word in words(name):
            if not word.isdecimal():
                raise CasPLError(f"{name} holds numbers, not {word!r}")
        return tuple(int(word) for word in words(name))

    if len(args.options) % 2:
        raise CasPLError(
            f"options come as KEY VALUE pairs, but {' '.join(args.options)!r} has {len(args.options)} words"
        )
    plugins = tuple(Path(name) for name in words("PLUGIN"))
    missing = [path for path in plugins if not path.is_file()]
    if missing:
        raise CasPLError(f"no file {missing[0]} (PLUGIN)")
    seed = environment.get("BOOST_SEED", "")
    if seed and not seed.isdecimal() and seed != "same":
        raise CasPLError(f"BOOST_SEED is a number, or same: that of each run, not {seed!r}")
    return Request(
        read_protocol("base2new"),
        REPO / "configs",
        Path(os.path.normpath(args.output)),
        tuple(args.datasets),
        tuple(args.methods or words("METHODS")),
        tuple(args.seeds) or numbers("SEEDS"),
        tuple(args.shots) or numbers("SHOTS"),
        tuple(args.targets),
        config=environment.get("CFG", ""),
        label=environment.get("LABEL", ""),
        boosting=environment.get("BOOST_CFG", ""),
        boosting_label=environment.get("BOOST_LABEL", ""),
        boosting_options=tuple(words("BOOST_OPTIONS")),
        boosting_seed=-1 if seed == "same" else int(seed) if seed else None,
        target_boosting=args.target_boosting,
        options=tuple(args.options),
        plugins=plugins,
    )


def command(run: Run, args: argparse.Namespace, request: Request) -> list[str]:
    """For train.py."""
    plugins = [word for path in request.plugins for word in ("--plugin", str(path))]
    return [*plugins, "--root", args.root, "--output-dir", str(run.folder), *run.arguments]


def check(commands: Sequence[list[str]]) -> list[CfgNode]:
    """Merge and check the configs of runs, so that a wrong key is found before the first of them begins.

    Raises:
        CasPLError: naming what is wrong.
    """
    import datasets  # noqa: F401  the imports register data sets and trainers
    import train
    from trainers import session
    from trainers.config import build_cfg
    from trainers.user_modules import load_plugins

    configs = []
    for words in commands:
        args = train.parser().parse_intermixed_args(words)
        configs.append(build_cfg(args, load_plugins(args.plugin)))
        session.check(configs[-1], args)
    return configs


def outstanding(
    runs: Sequence[Run], args: argparse.Namespace, request: Request
) -> tuple[list[Run], dict[Path, list[str]]]:
    """The runs that are not finished, and their commands for train.py, by folder."""
    missing = [run for run in runs if not is_done(run.folder, run.identity, run.makes)]
    return missing, {run.folder: command(run, args, request) for run in missing}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 0, 2 for wrong input, 130 when interrupted, else a failed run's."""
    args = parser().parse_intermixed_args(arguments)
    try:
        request = request_of(args)
        if args.jobs is None:
            args.jobs = 1 if args.slurm is None else 100
        if args.jobs < 1 or (args.show and (args.jobs > 1 or args.slurm is not None)):
            raise CasPLError("--jobs is 1 or more, and with --show 1 and here")
        if request.output.exists() and not request.output.is_dir():
            raise CasPLError(f"--output {request.output} is a file: name a folder")
        wrong = [one for one in (*request.shots, *request.seeds) if one < 1 and one != ALL_IMAGES]
        if wrong or any(seed < 0 for seed in request.seeds):
            raise CasPLError("--shots are 1 and more (-1: all images), --seeds 0 and more")
        if args.full and f"{args.table}_full" not in table_names():
            raise CasPLError(f"--full is for tiny, not for {args.table}")
        parts = parts_of(f"{args.table}_full" if args.full else args.table, request, args.only)
        runs = plan_all(parts)
        missing, commands = outstanding(runs, args, request)
        first = sum(run.makes is not None for run in missing)
        if args.dry_run:
            for run in missing:
                note = f"  # {run.note}" if run.note and run.makes is None else ""
                print("python train.py", shlex.join(commands[run.folder]) + note)
            print(f"# {len(missing)} of {len(runs)} runs are missing, {first} of phase 1")
            return 0
        if args.estimate:
            configs = check(list(commands.values()))
            print("\n".join(estimate.lines(zip(missing, configs, strict=True), request.output, args.jobs)))
            return 0
        if args.check:
            return examine(args, request, parts, runs)
        if args.show:
            for run in runs:
                if run not in missing:
                    print(f"done before: {run.folder}")
        else:
            print(f"{len(missing)} of {len(runs)} runs are missing, {first} of phase 1")
        if args.full:  # that may be days
            configs = check(list(commands.values()))
            print(estimate.lines(zip(missing, configs, strict=True), request.output, args.jobs)[-1], flush=True)
        else:  # one of those that differ in seeds and folders alone
            check(list({_but_for_places(words): words for words in commands.values()}.values()))
        code = check_first(args, request, parts) if missing and not args.no_check else 0
        if code != INTERRUPTED:
            lost = preflight.lost(parts, request.output) if code else []
            missing = [run for run in missing if not set(lost) & set(run.folder.relative_to(request.output).parts)]
            for name in lost:
                print(f"runs on {name} are left out: zero-shot CLIP does not run there", file=sys.stderr)
            code = executor(missing, commands, args, request).run() or code
    except CasPLError as error:
        print("error:", error, file=sys.stderr)
        return 2
    # A failed run takes no table along.
    if code == INTERRUPTED or not any((run.folder / RESULT).is_file() for run in runs):
        return code
    shown = show.tables(parts, request.output)
    return code or shown


def executor(
    missing: Sequence[Run], commands: Mapping[Path, list[str]], args: argparse.Namespace, request: Request
) -> Executor:
    """What runs them, here or on a cluster."""
    if args.jobs > 1:  # much else waits for phase 1
        missing = sorted(missing, key=lambda run: run.makes is None)
    jobs = None if args.slurm is None else Cluster(request.output / "logs" / "slurm", args.slurm)
    return Executor(missing, commands, None if args.show else request.output, args.jobs, jobs)


def check_first(args: argparse.Namespace, request: Request, parts: Sequence[Part]) -> int:
    """Say what differs from what is published, before the first run of a data set; returns the code of what failed."""
    plain = preflight.zero_shot(parts, request.output)
    missing, commands = outstanding(plain, args, request)
    if not missing:
        return 0
    for sentence in preflight.findings(check(list(commands.values()))):
        print("careful:", sentence, file=sys.stderr)
    print("first, zero-shot CLIP beside the paper's (--no-check leaves it out)", flush=True)
    code = executor(missing, commands, args, request).run()
    for sentence in preflight.compare(missing):
        print("careful:", sentence, file=sys.stderr)
    return code


def examine(args: argparse.Namespace, request: Request, parts: Sequence[Part], runs: Sequence[Run]) -> int:
    """Compare what runs would work on with what is published; returns 1 where something differs."""
    configs = check([command(run, args, request) for run in {run.kind: run for run in runs}.values()])
    said = preflight.findings(configs)
    plain = preflight.zero_shot(parts, request.output)
    if not plain and not said:
        print("nothing of this is published: there is nothing to compare with")
        return 0
    if not said:
        code = executor(*outstanding(plain, args, request), args, request).run()
        if code:
            return code
        said = preflight.compare(plain)
    print("\n".join(said) or "weights, data and zero-shot CLIP are as published")
    return bool(said)


def _but_for_places(words: Sequence[str]) -> tuple[str, ...]:
    """The words of a command without seeds and folders."""
    places = ("--seed", "--output-dir", "--model-dir", "TRAINER.CASPL.BOOSTING_SEED", "TRAINER.CASPL.BOOSTING_DIR")
    return tuple(word for before, word in zip(("", *words), words, strict=False) if before not in places)


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt("SIGTERM")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)  # clusters send it before they kill
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
