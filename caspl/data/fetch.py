"""Downloads: thin over torchvision and huggingface_hub, which bring progress bars, checksums and resuming.

A data set is downloaded and unpacked in a folder of its own below ``ROOT/.downloads``. A marker there says that this
was finished. Without it everything but archives is removed and made again, since the libraries take a half unpacked
folder for a whole one. Both are imported late: looking at what is there needs neither.
"""

from __future__ import annotations

import os
import platform
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
from caspl.files import Claim

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""The suffixes of what is unpacked, in any case."""
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
IMAGENET = {"train": "ILSVRC2012_img_train.tar", "val": "ILSVRC2012_img_val.tar"}
"""The archive of each part of ImageNet; both take the development kit."""

Fetch = Callable[[Path], None]
"""Downloads and unpacks into a folder."""

_BROKEN = (EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile)
# Pythons that cannot refuse a hostile tar have no name for that either.
_HOSTILE = getattr(tarfile, "FilterError", ())


def staging_folder(published: Published, root: Path) -> Path:
    """Where a data set is downloaded and unpacked."""
    return root / ".downloads" / published.stem


def alone(published: Published, root: Path) -> Claim:
    """Keeps other runs from the images of a data set, as a context."""
    return Claim(staging_folder(published, root), f"preparing {published.name}")


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

            with filtered():
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
        for archive in archives:
            with _told(published, str(archive)):
                unpack(archive, staging / "unpacked")

    return fetch


def from_imagenet_archives(published: Published, parts: Sequence[str], archives: Sequence[Path]) -> Fetch:
    """Parts of ImageNet from its archives, checked, unpacked and sorted by torchvision."""

    def fetch(staging: Path) -> None:
        from torchvision import datasets

        # A folder of its own, since torchvision wants the archives beside what it unpacks: archives in staging stay.
        folder = staging / "unpacked"
        shutil.rmtree(folder, ignore_errors=True)  # links to archives, and what a killed run has unpacked
        folder.mkdir()
        for archive in archives:
            (folder / archive.name).symlink_to(archive.resolve())
        with _told(published, "torchvision.datasets.ImageNet"):
            for part in parts:
                print(f"{published.name}: checking and unpacking {part}, which takes its time", flush=True)
                with filtered():
                    datasets.ImageNet(str(folder), split=part)

    return fetch


def val_wnids(published: Published, kit: Path) -> list[str]:
    """The class folder of each of ImageNet's validation images, in their order, from the development kit."""
    from torchvision.datasets import imagenet

    with tempfile.TemporaryDirectory() as folder, _told(published, str(kit)):
        Path(folder, kit.name).symlink_to(kit.resolve())
        imagenet.parse_devkit_archive(folder)
        wnids: list[str] = imagenet.load_meta_file(folder)[1]
        return wnids


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive, and the archives that it holds at its top or one folder below (Caltech101 comes like that).

    Raises:
        CasPLError: it is no archive of a known kind, or this Python cannot keep a tar inside the folder.
    """
    print(f"unpacking {archive}", flush=True)
    _extract(archive, folder)
    for inner in [*_archives(folder)]:
        _extract(inner, inner.parent)


def _extract(archive: Path, folder: Path) -> None:
    """Unpack into a folder, and nowhere else."""
    if not _is_archive(archive):
        raise CasPLError(f"{archive} is no archive of a known kind: give one that ends in {', '.join(ARCHIVES)}")
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(folder)  # which strips .. and absolute paths, and knows no links
        return
    with filtered(), tarfile.open(archive) as tar:
        tar.extractall(folder)


@contextmanager
def filtered() -> Iterator[None]:
    """Let no tar write outside its folder meanwhile, also where a library extracts without a filter (torchvision did).

    Raises:
        CasPLError: this Python has no such filter.
    """
    if not hasattr(tarfile, "data_filter"):
        raise CasPLError(
            f"Python {platform.python_version()} cannot unpack tars safely: 3.10.12, 3.11.4 and newer ones can"
        )
    before = tarfile.TarFile.extraction_filter
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before


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
def _told(
    published: Published, source: str, staging: Path | None = None, otherwise: str = "run the command again"
) -> Iterator[None]:
    """Turn the many exceptions of libraries and networks into one sentence, and remove broken downloads.

    Args:
        published: the data set.
        source: where its images come from.
        staging: where that is downloaded to, if it is. A broken archive that was there before stays: it may be the
            user's.
        otherwise: the way out, unless something better is known.
    """
    before = {*_archives(staging)} if staging else set()
    try:
        yield
    except CasPLError:
        raise
    except ImportError as error:
        name = (error.name or "a package").partition(".")[0]
        raise CasPLError(f"{source} needs {name}: pip install {name}") from error
    except _HOSTILE as error:
        fault = f"{source} is not unpacked, since it would write outside its folder ({first_line(error)})"
        raise CasPLError(f"{fault}: {published.by_hand}") from error
    except _BROKEN as error:
        broken = [archive for archive in _archives(staging) if not _is_whole(archive)] if staging else []
        for archive in broken:
            if archive not in before:
                archive.unlink()
        name = ", ".join(map(str, broken)) or source
        way_out = "remove it and run the command again" if before.intersection(broken) else "get it again"
        raise CasPLError(f"{name} is incomplete ({first_line(error)}): {way_out}") from error
    except Exception as error:
        fault = f"the images could not be had from {source} ({first_line(error)})"
        raise CasPLError(f"{fault}: {otherwise}, or {published.by_hand}") from error


def _archives(folder: Path) -> Iterator[Path]:
    """The archives in a folder or one folder below."""
    for path in sorted((*folder.glob("*"), *folder.glob("*/*"))):
        if _is_archive(path) and path.is_file():
            yield path


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVES)


def _is_whole(archive: Path) -> bool:
    """Whether an archive can be read to its end."""
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as zipped:
                return zipped.testzip() is None
        with tarfile.open(archive) as tar:
            tar.getmembers()
    except (*_BROKEN, OSError):
        return False
    return True


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
