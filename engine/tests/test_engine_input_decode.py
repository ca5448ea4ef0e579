"""Reading pixels: the same as PIL's, whatever the file is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from input_photos import photo
from PIL import Image, ImageCms

from dassl.data import decode
from dassl.data.decode import pixels_of, read_tensor
from dassl.utils.tools import ImageError, read_image

TURNED = Image.Exif()
TURNED[0x112] = 6
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # anything but what the pixels are


def see_through() -> Image.Image:
    image = photo(61, 47).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


SAVE: dict[str, Callable[[Path], Any]] = {
    "rgb": lambda path: photo(61, 47).save(path, "JPEG", quality=92),
    "444": lambda path: photo(61, 47).save(path, "JPEG", subsampling=0),
    "422": lambda path: photo(61, 47).save(path, "JPEG", subsampling=1),
    "progressive": lambda path: photo(61, 47).save(path, "JPEG", progressive=True),
    "turned": lambda path: photo(61, 47).save(path, "JPEG", exif=TURNED),
    "grey": lambda path: photo(61, 47).convert("L").save(path, "JPEG"),
    "cmyk": lambda path: photo(61, 47).convert("CMYK").save(path, "JPEG"),
    "cmyk with a profile": lambda path: photo(61, 47).convert("CMYK").save(path, "JPEG", icc_profile=PROFILE),
    "rgb with a profile": lambda path: photo(61, 47).save(path, "JPEG", icc_profile=PROFILE),
    "see-through palette": lambda path: photo(61, 47).convert("P").save(path, "PNG", transparency=bytes([0, 99])),
    "palette": lambda path: photo(61, 47).convert("P").save(path, "PNG"),
    "alpha": lambda path: see_through().save(path, "PNG"),
    "grey and alpha": lambda path: see_through().convert("LA").save(path, "PNG"),
    "gif": lambda path: photo(61, 47).save(path, "GIF"),
    "webp": lambda path: photo(61, 47).save(path, "WEBP"),
    "bmp": lambda path: photo(61, 47).save(path, "BMP"),
    "tiff": lambda path: photo(61, 47).save(path, "TIFF"),
}
JPEGS = ("rgb", "444", "422", "progressive", "turned", "grey", "cmyk", "cmyk with a profile", "rgb with a profile")


@pytest.mark.parametrize("kind", SAVE)
def test_same_pixels_as_pil(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.jpg"
    SAVE[kind](path)
    expected = torch.from_numpy(np.array(read_image(str(path)))).permute(2, 0, 1)
    by_pil = []

    def watched(path: str) -> Image.Image:
        by_pil.append(path)
        return read_image(path)

    monkeypatch.setattr(decode, "read_image", watched)
    pixels = read_tensor(str(path))
    assert (pixels.shape, pixels.dtype) == ((3, 47, 61), torch.uint8)
    assert torch.equal(pixels, expected)
    assert by_pil == ([] if kind in JPEGS else [str(path)])


@pytest.mark.parametrize("with_notes", ["turned", "cmyk with a profile", "rgb with a profile"])
def test_notes_beside_the_pixels_change_none(with_notes: str, tmp_path: Path) -> None:
    """Neither turns nor colour profiles are applied: CLIP's own training did not, nor do the published loaders."""
    SAVE[with_notes](tmp_path / "noted.jpg")
    with Image.open(tmp_path / "noted.jpg") as image:
        assert image.info.get("exif") or image.info.get("icc_profile")
        mode = image.mode
    photo(61, 47).convert(mode).save(tmp_path / "plain.jpg")
    noted, plain = (np.asarray(read_image(str(tmp_path / name))) for name in ("noted.jpg", "plain.jpg"))
    assert np.array_equal(noted, plain)


def test_pil_decodes_where_torchvision_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.jpg"
    photo(61, 47).save(path)
    expected = read_tensor(str(path))
    monkeypatch.setattr(decode, "_jpeg_decoder", lambda: None)
    assert torch.equal(read_tensor(str(path)), expected)


@pytest.mark.parametrize("kept", [0, 2, 3, 200, -2000, -2])
def test_truncated_file(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    photo(61, 47).save(path, quality=92)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ImageError, match=r"^the image \S*cut\.jpg cannot be read: [^\n]*$"):
        read_tensor(str(path))


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(ImageError, match=f"^the image {path} cannot be read"):
            read_tensor(str(path))


def test_pixels_of_an_image() -> None:
    image = photo(5, 4)
    pixels = pixels_of(image)
    assert pixels.shape == (3, 4, 5)
    assert pixels[:, 2, 3].tolist() == list(image.getpixel((3, 2)))


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_grey_values_of_16_bits_keep_their_shades(dtype: str, tmp_path: Path) -> None:
    """The high byte, as PIL takes it of 16-bit colours; on both backends, for one function reads for both."""
    grey = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(grey.astype(dtype)).save(tmp_path / "grey.tiff")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    for name in ("grey.tiff", "grey.png"):
        pixels = np.asarray(read_image(str(tmp_path / name)))
        assert pixels.shape == (16, 16, 3)
        assert (pixels == (grey >> 8)[..., None]).all()
        assert np.array_equal(read_tensor(str(tmp_path / name)).permute(1, 2, 0).numpy(), pixels)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_numbers_without_a_scale_are_refused(dtype: str, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), dtype)).save(tmp_path / "grey.tiff")
    with pytest.raises(OSError, match=r"grey\.tiff cannot be read: it holds grey values of 32 bits"):
        read_image(str(tmp_path / "grey.tiff"))


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.save(tmp_path / "palette.png", transparency=bytes([255, 0]))
    assert (np.asarray(read_image(str(tmp_path / "palette.png"))) == (200, 100, 50)).all()
