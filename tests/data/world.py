"""A world in which one data set, in small, can be downloaded: everything but the network is real."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from caspl.data import PUBLISHED
from caspl.data.__main__ import main
from caspl.data.published import MIRROR
from tests.data.archives import ARCHIVES, imagenet, md5, pack
from tests.data.small import write_small


class World:
    """A data set as the network has it, and an empty data root for it.

    Attributes:
        published: what the table says of it.
        data: its folder, as it should become.
        archives: its archives.
        root: the data root.
        here: where it should lie.
        asked: what has been downloaded.
    """

    def __init__(self, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.published = write_small(name, folder / "original", monkeypatch)
        self.data = folder / "original" / self.published.folder
        make = ARCHIVES.get(name, lambda data, out: imagenet(data, out, monkeypatch))
        self.archives = make(self.data, folder / "archives")
        self.root = folder / "root"
        self.here = self.root / self.published.folder
        self.asked: list[str] = []
        self._files = {path.name: path for path in self.archives}
        if self.published.split_file:
            self._files[self.published.split_file] = self.data / self.published.split_file
        self._connect(monkeypatch)

    def prepare(self, *options: object) -> int:
        """Run the command; returns the exit code."""
        return main(["prepare", self.published.name, "--root", str(self.root), *map(str, options)])

    def laid_out(self) -> bool:
        """Whether all images lie where they should, with the right content."""
        files = (self.data / self.published.images).rglob("*")
        places = [path.relative_to(self.data) for path in files if path.suffix.lower() in (".jpg", ".jpeg")]
        assert places
        return all((self.here / place).read_bytes() == (self.data / place).read_bytes() for place in places)

    def _connect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("utils", "flowers102"):
            monkeypatch.setattr(f"torchvision.datasets.{module}.download_url", self._download_url)
        if "setid.mat" in self._files:
            names = {"label": "imagelabels.mat", "setid": "setid.mat"}
            known = {key: (name, md5(self._files[name])) for key, name in names.items()}
            monkeypatch.setattr(
                "torchvision.datasets.Flowers102._file_dict", {"image": ("102flowers.tgz", ""), **known}
            )
        monkeypatch.setattr("huggingface_hub.list_repo_files", self._list_repo_files)
        monkeypatch.setattr("huggingface_hub.hf_hub_download", self._hf_hub_download)

    def _download_url(self, url: str, root: Any, filename: Any = None, md5: str | None = None, **_: object) -> None:
        target = Path(root, filename or Path(url).name)
        # As the original: what is there is not downloaded again, unless it has a digest and that is wrong.
        if target.exists() and (md5 is None or target.read_bytes() == self._files[target.name].read_bytes()):
            return
        self.asked.append(url)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._files[Path(url).name], target)

    @staticmethod
    def _list_repo_files(repository: str, *, repo_type: str) -> list[str]:
        assert (repository, repo_type) == (MIRROR, "model")
        # One of them is spelled in a way of its own.
        return ["README.md", *(f"{one.folder.replace('food-', 'food')}.zip" for one in PUBLISHED.values())]

    def _hf_hub_download(self, repository: str, filename: str, *, repo_type: str, local_dir: str) -> str:
        assert (repository, repo_type) == (MIRROR, "model")
        self.asked.append(filename)
        return str(pack(Path(local_dir, filename), {self.published.folder: self.data}))
