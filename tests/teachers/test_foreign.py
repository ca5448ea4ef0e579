"""Teachers that are open_clip's and no CLIP of the classic layout: small ones of its architectures, random weights."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import train
from caspl.boosting import read_boosting
from caspl.errors import CasPLError
from caspl.pixels import OPENAI_MEAN, OPENAI_STD, Adapt, Pixels, published_pixels
from caspl.step import MODES, Batch, Precision
from caspl.teachers import CLIPEncoder, CLIPTeacher, load_encoder
from caspl.teachers.foreign import OpenClipEncoder
from tests.conftest import CLASSES
from tests.device import DEVICE
from tests.runs import Runs, refused
from tests.step.test_fake_cuda import _as_with_cuda, run  # noqa: F401  a fixture
from tests.stubs import make_cfg, make_trainer
from tests.tiny_clip import SIZES
from tests.trainers.building import batch

open_clip = pytest.importorskip("open_clip")

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
OWN_WORDS = {"context_length": 12, "vocab_size": 500, "no_causal_mask": True, "pool_type": "last", "proj_bias": True}


def timm(name: str, pool: str, side: int, **more: Any) -> dict[str, Any]:
    vision = {"timm_model_name": name, "timm_model_pretrained": False, "timm_pool": pool, "image_size": side}
    return {"vision_cfg": vision | {"timm_proj": None} | more, "text_cfg": TEXT, "custom_text": True}


CONFIGS = {
    # As SigLIP: a bias, words of its own from a hub, features as wide as its tower.
    "tests-siglip": timm("test_vit", "map", 160, timm_proj="none")
    | {"embed_dim": 64, "init_logit_bias": -10, "text_cfg": TEXT | OWN_WORDS | {"hf_tokenizer_name": "nobody/words"}},
    "tests-eva": timm("eva02_tiny_patch14_224", "token", 224) | {"embed_dim": 192},
    "tests-mobile": timm("fastvit_t8", "avg", 64) | {"embed_dim": 768},
}


def stand_in_words(texts: list[str]) -> Tensor:
    """Ids of the words of a text, such as a tokenizer from a hub would give."""
    rows = [[1 + zlib.crc32(word.encode()) % 498 for word in text.split()] for text in texts]
    return torch.tensor([(row + [0] * 12)[:11] + [499] for row in rows])


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    found = open_clip.get_tokenizer
    monkeypatch.setattr(
        open_clip, "get_tokenizer", lambda name: stand_in_words if name == "tests-siglip" else found(name)
    )


@pytest.fixture(scope="module", params=list(CONFIGS))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    """An architecture, a model of it, and the file of its weights."""
    return made(request.param, tmp_path_factory.mktemp("model"))


def made(name: str, folder: Path) -> tuple[str, Any, Path]:
    (folder / f"{name}.json").write_text(json.dumps(CONFIGS[name]))
    open_clip.add_model_config(folder / f"{name}.json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = open_clip.create_model(name).eval()
    save_file({key: value.contiguous() for key, value in theirs.state_dict().items()}, folder / "weights.safetensors")
    return name, theirs, folder / "weights.safetensors"


def load(name: str, path: Path, mode: str = "fp32") -> Any:
    return load_encoder(f"{name}:{path}", Precision(mode, DEVICE))


def test_probabilities_are_those_of_open_clip(model: tuple[str, Any, Path]) -> None:
    """Its bias and its scale included, from the same pixels."""
    name, theirs, path = model
    encoder = load(name, path)
    assert isinstance(encoder, OpenClipEncoder)
    side = CONFIGS[name]["vision_cfg"]["image_size"]
    assert encoder.pixels.size == side
    images, texts = torch.randn(3, 3, side, side).to(DEVICE), ["a cat.", "a photo of a dog.", "a red bird."]
    teacher = CLIPTeacher(encoder, texts, encoder.pixels)
    with torch.no_grad():
        ids = open_clip.get_tokenizer(name)(texts)
        image, text = theirs.encode_image(images.cpu(), normalize=True), theirs.encode_text(ids, normalize=True)
        logits = theirs.logit_scale.exp() * image @ text.T
        logits = logits if theirs.logit_bias is None else logits + theirs.logit_bias
    found = teacher.logits(Batch(images, images)).cpu()
    torch.testing.assert_close(found.softmax(-1), logits.softmax(-1), rtol=0, atol=1e-5)
    assert (name == "tests-siglip") == (theirs.logit_bias is not None)
    torch.testing.assert_close(encoder.encode_image(images).cpu(), image, rtol=0, atol=1e-5)


def test_it_is_known_by_its_weights(model: tuple[str, Any, Path], tmp_path: Path) -> None:
    name, theirs, path = model
    state = {key: value.clone().contiguous() for key, value in theirs.state_dict().items()}
    key = next(key for key, value in state.items() if value.dim() > 1)
    state[key][0] += 1e-3
    save_file(state, tmp_path / "other.safetensors")
    other = load(name, tmp_path / "other.safetensors")
    assert load(name, path).identity == load(name, path, "bf16").identity != other.identity
    before = torch.random.get_rng_state()
    load(name, path)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "amp"])
def test_phase_1_learns_from_it(
    model: tuple[str, Any, Path], precision: str, clips: dict[str, str], tmp_path: Path
) -> None:
    """Its features are as wide as they are, its images as large; the softmax over classes is what counts."""
    name, theirs, path = model
    trainer = phase_1(f"{name}:{path}", clips, tmp_path, precision)
    state = {key: value.clone() for key, value in theirs.state_dict().items()}
    trainer.num_batches, trainer.batch_idx = 2, 0
    assert torch.isfinite(trainer.forward_backward(batch())["loss"])
    teacher = trainer.distillation.teacher.encoder.model
    assert all(torch.equal(value.cpu(), state[key]) for key, value in teacher.state_dict().items())
    assert all(value.grad is None for value in teacher.parameters())
    assert trainer.header().teacher_hash == trainer.distillation.teacher.encoder.identity


@pytest.mark.parametrize("precision", MODES)
def test_it_stays_on_the_device(
    model: tuple[str, Any, Path], precision: str, clips: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, path = model
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)  # as any card of today's does
    run(phase_1(f"{name}:{path}", clips, tmp_path, "fp32"), precision)


def phase_1(teacher: str, clips: dict[str, str], folder: Path, precision: str) -> Any:
    settings = {"TEACHER": teacher, "BOOSTING_DIR": str(folder), "PREC": precision}
    options = {f"TRAINER__CASPL__{key}": value for key, value in settings.items()}
    trainer = make_trainer(make_cfg("CasPL", clips["student"], SIZES.resolution, **options), CLASSES)
    trainer.start()
    return trainer


def test_a_boosting_file_says_whose_it_is(runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A run from its command line; the same name with other weights may not write there."""
    name, theirs, path = made("tests-eva", tmp_path)
    teacher = ("TRAINER.CASPL.TEACHER", f"{name}:{path}", "OPTIM.MAX_EPOCH", "1", "DATASET.NUM_SHOTS", "1")
    assert train.main(runs.phase1("boost", *teacher)) == 0
    [file] = (runs.folder / "boosting").rglob("*.safetensors")
    assert read_boosting(file).header.teacher_hash == load(name, path).identity
    with torch.no_grad():
        theirs.logit_scale += 1
    save_file({key: value.contiguous() for key, value in theirs.state_dict().items()}, path)
    assert "was made from other weights of the teacher tests-eva" in refused(capsys, runs.phase1("again", *teacher))


def test_what_cannot_be_a_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, theirs, path = made("tests-siglip", tmp_path)
    precision = Precision("fp32", DEVICE)
    with pytest.raises(CasPLError, match="knows no architecture tests-siglop; near are tests-siglip"):
        load_encoder(f"tests-siglop:{path}", precision)
    with pytest.raises(CasPLError, match="knows no architecture tests-siglop"):
        load_encoder("tests-siglop:webli", precision)
    with pytest.raises(CasPLError, match="no weights tests-siglip:webli"):
        load_encoder("tests-siglip:webli", precision)
    with pytest.raises(CasPLError, match="no weights file at"):
        load_encoder(f"{name}:{tmp_path / 'none.safetensors'}", precision)
    state = {key: value.contiguous() for key, value in theirs.state_dict().items() if key != "logit_bias"}
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(CasPLError, match="holds no weights of tests-siglip as open_clip writes them: look at logit_bi"):
        load_encoder(f"{name}:{tmp_path / 'cut.safetensors'}", precision)

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "get_tokenizer", unreachable)
    with pytest.raises(CasPLError, match=r"tokenizer of tests-siglip could not be loaded \(OSError\).*nobody/words"):
        load_encoder(f"{name}:{path}", precision)
    monkeypatch.setattr(open_clip, "create_model", unreachable)
    with pytest.raises(CasPLError, match=r"SigLIP2:webli could not be downloaded \(OSError\); give a file of them"):
        load_encoder("ViT-B-16-SigLIP2:webli", precision)


def test_a_classic_one_is_computed_by_our_towers(clips: dict[str, str]) -> None:
    encoder = load_encoder(clips["teacher"], Precision("fp32", DEVICE))
    assert isinstance(encoder, CLIPEncoder)
    assert encoder.pixels == Pixels(32, known=False)


def test_its_own_pixels_are_what_is_published() -> None:
    half = (0.5, 0.5, 0.5)
    assert published_pixels("ViT-B-16-SigLIP2", "webli", 224) == Pixels(224, half, half)
    assert published_pixels("ViT-B-16-SigLIP2", "", 224) == Pixels(224, half, half)  # a file: all of its kind agree
    mobile = Pixels(256, (0.0,) * 3, (1.0,) * 3, "bilinear")
    assert published_pixels("MobileCLIP2-S0", "dfndr2b", 256) == mobile
    assert published_pixels("ViT-H-14-quickgelu", "dfn5b", 224) == Pixels(224, OPENAI_MEAN, OPENAI_STD)
    assert published_pixels("tests-of-nobody", "", 32) == Pixels(32, known=False)


@pytest.mark.parametrize("statistics", [((0.5,) * 3, (0.5,) * 3), ((0.0,) * 3, (1.0,) * 3)])
def test_images_of_the_same_size_are_normalised_as_if_from_the_file(statistics: tuple[Any, Any]) -> None:
    """The student's normalised pixels hold all there was: what its statistics did is undone, to rounding."""
    raw = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        return (raw - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    adapt = Adapt(Pixels(32), Pixels(32, *statistics), torch.device("cpu"))
    found = adapt(normalised(OPENAI_MEAN, OPENAI_STD))
    torch.testing.assert_close(found, normalised(*statistics), rtol=0, atol=1e-6)
