"""Fetching and extracting archives of images."""

from __future__ import annotations

import os
import tarfile
import zipfile

from ...utils.logger import logger

__all__ = ["download_and_extract", "extract"]


def download_and_extract(url: str, dst: str) -> None:
    """Fetch a file of Google Drive to ``dst`` and extract it beside. Needs the package ``gdown``."""
    try:
        import gdown
    except ImportError as error:
        raise ImportError("downloading from Google Drive needs gdown: pip install gdown") from error
    gdown.download(url, dst, quiet=False)
    logger.info("Extracting file ...")
    extract(dst)
    logger.info("File extracted to %s", os.path.dirname(dst))


def extract(path: str) -> None:
    """Extract a .zip, .tar or .tar.gz file into its folder; NotImplementedError for other files."""
    folder = os.path.dirname(path) or "."
    if path.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    elif path.endswith((".tar", ".tar.gz")):
        with tarfile.open(path) as tar:
            # "data" refuses members that would land outside the folder.
            tar.extractall(folder, filter="data")
    else:
        raise NotImplementedError(f"{path} is no .zip, .tar or .tar.gz file")
