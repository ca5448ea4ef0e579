"""Downloads: thin over torchvision and huggingface_hub, which bring progress bars, checksums and resuming.

A data set is downloaded and unpacked in a folder of its own below ``ROOT/.downloads``. A marker there says that this
was finished. Without it everything but archives is removed and made again, since the libraries take a half unpacked
folder for a whole one. Both are imported late: looking at what is there needs neither.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from caspl.data.published import MIRROR, Published, name_key, spellings_of
from caspl.errors import CasPLError, first_line

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
IMAGENET = {"train": "ILSVRC2012_img_train.tar", "val": "ILSVRC2012_img_val.tar"}
"""The archive of each part of ImageNet; both take the development kit."""

Fetch = Callable[[Path], None]
"""Downloads and unpacks into a folder."""


def staging_folder(published: Published, root: Path) -> Path:
    """Where a data set is downloaded and unpacked."""
    return root / ".downloads" / published.stem


def fetch_into(staging: Path, fetch: Fetch, gigabytes: float) -> None:
    """Download and unpack, unless that was finished before.

    Raises:
        CasPLError: the disk has not enough space, or the download failed.
    """
    if marker(staging).is_file():
        return
    _clear(staging)
    _require_space(staging, gigabytes)
    fetch(staging)
    marker(staging).touch()


def marker(staging: Path) -> Path:
    """The file that says that ``staging`` is complete."""
    return staging / "complete"


def from_torchvision(published: Published) -> Fetch:
    """What torchvision.datasets downloads and unpacks."""

    def fetch(staging: Path) -> None:
        with _told(published, f"torchvision.datasets.{published.torchvision}", staging, "try --source mirror"):
            from torchvision import datasets

            getattr(datasets, published.torchvision)(str(staging), download=True)

    return fetch


def from_mirror(published: Published) -> Fetch:
    """The zip of PromptKD's copy on Hugging Face, which holds the images and the split in CoOp's layout."""

    def fetch(staging: Path) -> None:
        with _told(published, f"https://huggingface.co/{MIRROR}", staging):
            import huggingface_hub as hub

            zips = [name for name in hub.list_repo_files(MIRROR, repo_type="model") if name.endswith(".zip")]
            mine = [name for name in zips if name_key(Path(name).stem) in spellings_of(published)]
            if not mine:
                raise FileNotFoundError(f"none is called like it, there are {', '.join(zips)}")
            archive = hub.hf_hub_download(MIRROR, mine[0], repo_type="model", local_dir=str(staging))
            unpack(Path(archive), staging / "unpacked")

    return fetch


def from_archives(published: Published, archives: Sequence[Path]) -> Fetch:
    """Archives that the user has."""

    def fetch(staging: Path) -> None:
        with _told(published, "the archive", staging):
            for archive in archives:
                unpack(archive, staging / "unpacked")

    return fetch


def from_imagenet_archives(published: Published, parts: Sequence[str], archives: Sequence[Path]) -> Fetch:
    """Parts of ImageNet from its archives, checked, unpacked and sorted by torchvision."""

    def fetch(staging: Path) -> None:
        from torchvision import datasets

        shutil.rmtree(staging)  # links to archives, and what a killed run has unpacked
        staging.mkdir()
        for archive in archives:
            (staging / archive.name).symlink_to(archive.resolve())
        with _told(published, "torchvision.datasets.ImageNet", staging):
            for part in parts:
                print(f"{published.name}: checking and unpacking {part}, which takes its time", flush=True)
                datasets.ImageNet(str(staging), split=part)

    return fetch


def val_wnids(published: Published, kit: Path) -> list[str]:
    """The class folder of each of ImageNet's validation images, in their order, from the development kit."""
    from torchvision.datasets import imagenet

    with tempfile.TemporaryDirectory() as folder, _told(published, str(kit), Path(folder)):
        Path(folder, kit.name).symlink_to(kit.resolve())
        imagenet.parse_devkit_archive(folder)
        wnids: list[str] = imagenet.load_meta_file(folder)[1]
        return wnids


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive, and the archives that it holds at its top or one folder below (Caltech101 comes like that)."""
    from torchvision.datasets import utils

    print(f"unpacking {archive}", flush=True)
    utils.extract_archive(str(archive), str(folder))
    for inner in [*_archives(folder)]:
        utils.extract_archive(str(inner), str(inner.parent))


def download_file(urls: Sequence[str], target: Path, accept: Callable[[Path], object]) -> None:
    """Download a small file from the first address that has it in a form that ``accept`` does not refuse by raising.

    Raises:
        CasPLError: none has.
    """
    from torchvision.datasets import utils

    faults = []
    for url in urls:
        target.unlink(missing_ok=True)
        try:
            utils.download_url(url, str(target.parent), target.name)
            accept(target)
        # Networks fail in many ways. torchvision says itself that Google Drive takes gdown.
        except Exception as error:
            faults.append(f"{url} ({first_line(error)})")
        else:
            return
    raise CasPLError(
        f"{target.name} could not be had from {' nor from '.join(faults)}: "
        "get it with a browser and give it with --split FILE"
    )


@contextmanager
def _told(published: Published, source: str, staging: Path, otherwise: str = "run the command again") -> Iterator[None]:
    """Turn the many exceptions of libraries and networks into one sentence."""
    try:
        yield
    except ImportError as error:
        name = (error.name or "a package").partition(".")[0]
        raise CasPLError(f"{source} needs {name}: pip install {name}") from error
    except (EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        for archive in _archives(staging):
            archive.unlink()
        raise CasPLError(f"an archive is incomplete ({first_line(error)}): get it again") from error
    except Exception as error:
        fault = f"the images could not be had from {source} ({first_line(error)})"
        raise CasPLError(f"{fault}: {otherwise}, or {published.by_hand}") from error


def _archives(folder: Path) -> Iterator[Path]:
    """The archives in a folder or one folder below."""
    for path in sorted((*folder.glob("*"), *folder.glob("*/*"))):
        if path.name.endswith(ARCHIVES) and path.is_file():
            yield path


def _clear(staging: Path) -> None:
    """Remove all but archives and what huggingface_hub needs to go on."""
    kept = {*_archives(staging)}
    for folder, _, names in os.walk(staging, topdown=False):
        if ".cache" not in Path(folder).relative_to(staging).parts:
            for path in (Path(folder, name) for name in names):
                if path not in kept:
                    path.unlink()
            if not os.listdir(folder):
                os.rmdir(folder)
    staging.mkdir(parents=True, exist_ok=True)


def _require_space(staging: Path, gigabytes: float) -> None:
    # Of what is needed, the archives of an interrupted run are there already.
    kept = sum(path.lstat().st_size for path in _archives(staging))
    free = (shutil.disk_usage(staging).free + kept) / 1e9
    if free < gigabytes:
        raise CasPLError(
            f"about {gigabytes:.1f} GB are needed in {staging}, but {free:.1f} GB are free: "
            "make room, or choose another --root"
        )
