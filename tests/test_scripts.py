"""The drivers, as a user calls them, on EuroSAT's layout with real pictures and CLIPs of ViT-B/16 and L/14 shape."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from caspl.files import Claim
from caspl.towers import Sizes, random_state_dict
from caspl.towers.weights import write_clip
from tests.datasets.digits import write_eurosat_digits

REPO = Path(__file__).parents[1]
SCRIPT = REPO / "scripts/caspl/base2new.sh"
# Patches, layers and resolution as published; widths cut down.
VIT_B16 = Sizes(64, 224, 16, vision_width=64, vision_layers=12, text_width=64, text_layers=12)
VIT_L14 = Sizes(96, 224, 14, vision_width=64, vision_layers=24, text_width=64, text_layers=12)


def run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    weights = tmp_path / "weights"
    weights.mkdir()
    for seed, (name, sizes) in enumerate((("ViT-B-16", VIT_B16), ("ViT-L-14", VIT_L14))):
        write_clip(weights / f"{name}.safetensors", random_state_dict(sizes, seed), "quick_gelu", sizes.heads)
    write_eurosat_digits(tmp_path / "data", 4)
    return {
        "DATA": str(tmp_path / "data"),
        "OUTPUT": str(tmp_path / "output"),
        "CASPL_WEIGHTS": str(weights),
        "PYTHON": sys.executable,
        "SHOTS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPO),
    }


def test_base2new_with_the_published_configs(environment: dict[str, str], tmp_path: Path) -> None:
    """Everything as shipped (8+8 tokens, depth 12, batch 4, fp16) but the number of epochs and of workers."""
    short = ["OPTIM.MAX_EPOCH", "1", "DATALOADER.NUM_WORKERS", "0"]
    environment["BOOST_OPTIONS"] = " ".join(short)
    done = run(["eurosat", "1", "CasPL_PromptSRC", *short], environment)
    assert done.returncode == 0, done.stdout + done.stderr
    output = tmp_path / "output"
    tail = "eurosat/shots_1/CasPL_PromptSRC/vit_b16_c2_ep20_batch4_8+8ctx_l12/seed1/result.json"
    records = [json.loads((output / "base2new" / kind / tail).read_text()) for kind in ("train_base", "test_new")]
    assert [record["classes"] for record in records] == ["base", "new"]
    assert all(record["settings"]["TRAINER"]["PROMPTSRC"]["N_CTX_TEXT"] == 8 for record in records)
    assert (
        output / "boosting/vit_b16_c2_ep20_batch4_8+8ctx_l12/EuroSAT/vit_b_16/text8x12_vision8x12/seed1.safetensors"
    ).is_file()

    again = run(["eurosat", "1", "CasPL_PromptSRC", *short], environment)
    assert again.returncode == 0
    assert again.stdout.count("done before") == 3
    last = [line for line in done.stdout.splitlines() if line.startswith("CasPL_PromptSRC")][-1]
    assert last in again.stdout

    other = run(["eurosat", "1", "CasPL_PromptSRC", "OPTIM.MAX_EPOCH", "3", "DATALOADER.NUM_WORKERS", "0"], environment)
    assert other.returncode == 2
    assert "holds a run of other arguments" in other.stderr

    reboosted = run(["eurosat", "1", "CasPL_PromptSRC", *short], environment | {"BOOST_OPTIONS": "OPTIM.MAX_EPOCH 2"})
    assert reboosted.returncode == 2
    assert "boosting_runs" in reboosted.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["eurosatt", "1"], "unknown data set eurosatt; did you mean eurosat?"),
        (["nothing", "1"], "unknown data set nothing; there are: caltech101 dtd"),
        (["eurosat", "one"], "invalid int value: 'one'"),
        (["eurosat", "1", "CasPL_Nothing"], "no default config for CasPL_Nothing"),
        (["tinysat", "1", "CasPL_coop"], "no default config for CasPL_coop: did you mean CasPL_CoOp?"),
        (["tinysat", "1", "CasPL"], "CasPL is phase 1; name a method of phase 2"),
        (["tinysat", "1", "CoOp", "OPTIM.LRR", "1"], "unknown key OPTIM.LRR in the command line; near are"),
        (["tinysat", "1", "CoOp", "OPTIM.LR"], "options come as KEY VALUE pairs"),
        (["eurosat"], "base2new.sh DATASET SEED"),
    ],
)
def test_wrong_arguments(arguments: list[str], sentence: str) -> None:
    done = run(arguments, {"PYTHON": sys.executable})
    assert done.returncode == 2
    assert sentence in done.stdout + done.stderr


def test_wrong_config_name() -> None:
    done = run(["eurosat", "1", "CoOp"], {"PYTHON": sys.executable, "CFG": "nothing"})
    assert done.returncode == 2
    assert "no config nothing.yaml in configs/trainers/CoOp; there are: " in done.stderr
    assert " vit_b16_ctxv1.yaml " in done.stderr


def test_help() -> None:
    done = run(["--help"], {})
    assert done.returncode == 0
    assert "DATASET SEED [TRAINER]" in done.stdout


def test_labels_keep_two_settings_of_one_config_apart(tmp_path: Path) -> None:
    """A dry run prints the commands."""
    dry = [sys.executable, str(REPO / "scripts/reproduce.py"), "base2new", "--dry-run", "--datasets", "tinysat"]
    dry += ["--methods", "CasPL_PromptSRC", "--output", str(tmp_path)]
    environment = {"LABEL": "mine", "BOOST_LABEL": "short", "BOOST_OPTIONS": "OPTIM.MAX_EPOCH 5"}
    done = subprocess.run(dry, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    boost, base, new = (line for line in done.stdout.splitlines() if "train.py" in line)
    assert f"--output-dir {tmp_path}/boosting_runs/tinysat/CasPL/short/seed1 " in boost
    assert boost.endswith("TRAINER.RECORD.CONFIG short OPTIM.MAX_EPOCH 5")
    for line, part in ((base, "train_base"), (new, "test_new")):
        assert f"--output-dir {tmp_path}/base2new/{part}/tinysat/shots_16/CasPL_PromptSRC/mine/seed1 " in line
        assert "TRAINER.RECORD.CONFIG mine" in line
    assert all(f"TRAINER.CASPL.BOOSTING_DIR {tmp_path}/boosting/short " in line for line in (boost, base, new))

    unlabelled = subprocess.run(dry, capture_output=True, text=True, check=False)
    lines = [line for line in unlabelled.stdout.splitlines() if "train.py" in line]
    assert len(lines) == 3
    assert all("TRAINER.RECORD.CONFIG tiny" in line.partition("train.py")[2] for line in lines)


TRAIN = """
import sys, time
from pathlib import Path

import yaml

from caspl.files import Claim

def given(name):
    return sys.argv[sys.argv.index(name) + 1]

run = Path(given("--output-dir"))
with Claim.within(run):
    if "REFUSED" in sys.argv:
        sys.exit(2)
    (run / "prompts").mkdir(exist_ok=True)
    (run / "prompts" / "checkpoint").touch()
    if "HELD" in sys.argv:
        try:
            while not Path(given("HELD")).exists():
                time.sleep(0.01)
        except KeyboardInterrupt:
            time.sleep(0.2)
            (run / "interrupted").touch()
            sys.exit(130)
    if given("--trainer") == "CasPL":
        name = yaml.safe_load(Path(given("--dataset-config-file")).read_text())["DATASET"]["NAME"]
        folder = Path(given("TRAINER.CASPL.BOOSTING_DIR"), name, "student", "sizes")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"seed{given('--seed')}.safetensors").touch()
    (run / "result.json").write_text("{}")
    print("trained", run.name, flush=True)
"""
"""In place of train.py: claims its folder, keeps a checkpoint, may wait for a file, leaves a result and, in phase 1,
boosting tokens."""


FUNCTIONS = """
run_once() {
    local folder=$1
    shift
    "$PYTHON" "$REPO/scripts/run_once.py" "$folder" --identity="$(printf '%q ' "$@")$PHASE1" -- "$REPO/train.py" \\
        --output-dir "$folder" --dataset-config-file "$REPO/configs/datasets/$DATASET.yaml" "$@"
}
boost() {
    local folder=output/boosting_runs/$DATASET/seed$1
    "$PYTHON" "$REPO/scripts/run_once.py" "$folder" --identity=x \\
        --makes output/boosting/x "$NAME/*/*/seed$1.safetensors" -- "$REPO/train.py" --output-dir "$folder" \\
        --trainer CasPL --seed "$1" --dataset-config-file "$REPO/configs/datasets/$DATASET.yaml" \\
        TRAINER.CASPL.BOOSTING_DIR output/boosting/x
}
"""
"""What drivers do, as functions of a shell."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The drivers with another train.py."""
    shutil.copytree(REPO / "scripts", tmp_path / "checkout/scripts")
    (tmp_path / "checkout/configs").symlink_to(REPO / "configs")
    (tmp_path / "checkout/train.py").write_text(TRAIN)
    return tmp_path / "checkout"


Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin(checkout: Path) -> Iterator[Begin]:
    """Begin commands of scripts/common.sh, or scripts/run_once.py; what still runs is killed in the end."""
    begun: list[subprocess.Popen[str]] = []

    def start(commands: str, before: Callable[[], object] = lambda: None, **options: Any) -> subprocess.Popen[str]:
        def heed() -> None:  # a shell that was put into the background ignores Ctrl-C, and so does what it starts
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            before()

        head = f"set -euo pipefail; REPO={checkout} DATASET=eurosat PHASE1=; {FUNCTIONS}"
        known = {"OUTPUT": "output", "PYTHON": sys.executable, "PYTHONPATH": str(REPO)}
        settings: dict[str, Any] = {"cwd": checkout.parent, "env": os.environ | known, "text": True}
        # In a session of its own: a group to kill, and no terminal.
        settings |= {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "start_new_session": True,
            "preexec_fn": heed,
        }
        begun.append(subprocess.Popen(["bash", "-c", f"{head}\n{commands}"], **settings, **options))
        return begun[-1]

    yield start
    for process in begun:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(there: Callable[[], object]) -> None:
    for _ in range(3000):
        if there():
            return
        time.sleep(0.01)
    raise TimeoutError


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and all that was said."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


def test_a_boosting_file_is_that_of_its_data_set(begin: Begin, tmp_path: Path) -> None:
    """Two data sets share a folder of boosting files; one of them has lost its own."""
    for name in ("DATASET=eurosat NAME=EuroSAT", "DATASET=dtd NAME=DescribableTextures"):
        assert ended(begin(f"{name}; boost 1")) == (0, "trained seed1\n")
        code, said = ended(begin(f"{name}; boost 1"))
        assert (code, said.count("done before: ")) == (0, 1)
    (lost,) = tmp_path.glob("output/boosting/*/DescribableTextures/*/*/seed1.safetensors")
    lost.unlink()
    assert ended(begin("DATASET=dtd NAME=DescribableTextures; boost 2")) == (0, "trained seed2\n")
    assert ended(begin("DATASET=dtd NAME=DescribableTextures; boost 1")) == (0, "trained seed1\n")
    assert lost.is_file()
    assert "done before" in ended(begin("DATASET=eurosat NAME=EuroSAT; boost 1"))[1]


def test_a_second_driver_waits(begin: Begin, tmp_path: Path) -> None:
    go, command = tmp_path / "go", tmp_path / "run/command.txt"
    same = f"run_once run --trainer CoOp HELD {go}"
    first = begin(same)
    until((tmp_path / "run/prompts/checkpoint").exists)
    kept = command.read_text()
    second = begin(same.replace("run_once run", "mkdir -p run; run_once run/../run"))
    assert second.stderr is not None
    line = second.stderr.readline()
    assert line.startswith("run/../run is claimed by process ")
    assert line.endswith(" (train.py): waiting until that has ended\n")
    code, said = ended(begin(f"{same} OPTIM.MAX_EPOCH 2"))
    assert (code, "run holds a run of other arguments (see command.txt there)" in said) == (2, True)
    assert command.read_text() == kept
    go.touch()
    assert ended(first) == (0, "trained run\n")
    assert ended(second) == (0, "done before: run/../run\n")
    assert not (tmp_path / "run/.claim").exists()


def test_other_arguments_wait_for_what_has_not_begun(begin: Begin, tmp_path: Path) -> None:
    """A command that comes before the first checkpoint of another leaves it alone as well."""
    with Claim.within(tmp_path / "run"):
        other = begin("run_once run --trainer CoOp")
        assert other.stderr is not None
        assert f"run is claimed by process {os.getpid()} on" in other.stderr.readline()
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".claim"]
        (tmp_path / "run/command.txt").write_text("--trainer VPT \n")
        (tmp_path / "run/resume.pt").touch()
    code, said = ended(other)
    assert (code, "holds a run of other arguments" in said) == (2, True)
    assert (tmp_path / "run/command.txt").read_text() == "--trainer VPT \n"


def test_a_command_that_was_refused_may_be_mended(begin: Begin, tmp_path: Path) -> None:
    assert ended(begin("run_once run --trainer CoOp REFUSED")) == (2, "")
    assert ended(begin("PHASE1='# phase 1: tiny seed 1'; run_once run --trainer 'a b'")) == (0, "trained run\n")
    assert (tmp_path / "run/command.txt").read_text() == "--trainer a\\ b # phase 1: tiny seed 1\n"
    code, said = ended(begin("run_once run --trainer 'a b'"))
    assert (code, "holds a run of other arguments" in said) == (2, True)


HELD = "--trainer CoOp HELD go"
RUN_ONCE = f'exec "$PYTHON" "$REPO/scripts/run_once.py" run --identity=x -- "$REPO/train.py" --output-dir run {HELD}'


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_the_run(number: signal.Signals, code: int, begin: Begin, tmp_path: Path) -> None:
    driver = begin(RUN_ONCE)
    until((tmp_path / "run/prompts/checkpoint").exists)
    driver.send_signal(number)
    assert ended(driver) == (code, "")
    assert (tmp_path / "run/interrupted").exists() == (number == signal.SIGINT)
    assert not (tmp_path / "run/.claim").exists()
    (tmp_path / "go").touch()
    assert ended(begin(RUN_ONCE)) == (0, "trained run\n")


def test_a_terminal_interrupts_the_run_once(begin: Begin, tmp_path: Path) -> None:
    """It sends the signal to both processes; a second one would end the first one's work."""
    termios, fcntl = pytest.importorskip("termios"), pytest.importorskip("fcntl")
    keyboard, terminal = os.openpty()
    driver = begin(RUN_ONCE, lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), stdin=terminal)
    until((tmp_path / "run/prompts/checkpoint").exists)
    os.write(keyboard, b"\x03")
    assert ended(driver) == (130, "")
    assert (tmp_path / "run/interrupted").exists()
    os.close(keyboard)
    os.close(terminal)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_run_outlives_a_killed_driver(begin: Begin, tmp_path: Path) -> None:
    driver = begin(RUN_ONCE)
    until((tmp_path / "run/prompts/checkpoint").exists)
    driver.kill()
    driver.wait()
    second = begin(RUN_ONCE)
    assert second.stderr is not None
    assert "run is claimed by process " in second.stderr.readline()
    (tmp_path / "go").touch()
    assert ended(second) == (0, "done before: run\n")
