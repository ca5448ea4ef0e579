"""The shipped pair: files, format and what it can do on the validation split."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from caspl import tiny
from caspl.errors import CasPLError
from caspl.tiny import CLASSNAMES, TEMPLATE, domain, store
from caspl.tiny.objective import normalised
from caspl.towers import CLIP, Sizes, tokenize


@pytest.fixture(scope="module")
def validation():
    labels = np.repeat(np.arange(len(CLASSNAMES)), domain.SPLITS["val"])
    pictures = domain.render(np.random.default_rng((1, list(domain.SPLITS).index("val"))), labels)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return normalised(images), torch.from_numpy(labels)


@torch.no_grad()
def _probabilities(name, images):
    clip = CLIP.from_state_dict(tiny.load_state_dict(name)).freeze()
    text = F.normalize(clip.encode_text(tokenize([TEMPLATE.format(word) for word in CLASSNAMES])), dim=-1)
    image = F.normalize(clip.encode_image(images), dim=-1)
    return (clip.logit_scale.exp() * image @ text.t()).softmax(-1)


def test_teacher_is_clearly_better_than_a_student_that_is_clearly_better_than_chance(validation):
    images, labels = validation
    guesses = {name: _probabilities(name, images) for name in tiny.MODELS}
    accuracy = {name: (p.argmax(-1) == labels).float().mean().item() * 100 for name, p in guesses.items()}
    chance = 100 / len(CLASSNAMES)
    assert accuracy["student"] > 6 * chance
    assert accuracy["teacher"] > accuracy["student"] + 8
    assert accuracy["teacher"] < 85, "near the ceiling there is nothing left to adapt"
    sure = guesses["teacher"].max(-1).values.mean()
    assert 0.3 < sure < 0.9, "a teacher that is always or never sure has nothing to distil"


@pytest.mark.parametrize("name", tiny.MODELS)
def test_state_dict_is_whole_and_small_on_disk(name):
    state = tiny.load_state_dict(name)
    sizes = Sizes.of(state)
    assert sizes.vocabulary == 49408
    assert sizes.context_length == 77
    assert sizes.resolution == 32
    assert sizes.vision_layers >= 6
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in state.values())
    assert sum(tiny.weights_file(other).stat().st_size for other in tiny.MODELS) < 12e6


def test_unknown_name_and_damaged_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(CasPLError, match="student and teacher"):
        tiny.load_state_dict("assistant")
    damaged = tmp_path / "student.safetensors"
    content = bytearray(tiny.weights_file("student").read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(tiny, "weights_file", lambda name: damaged)
    with pytest.raises(CasPLError, match="damaged"):
        tiny.load_state_dict("student")
    damaged.unlink()
    with pytest.raises(CasPLError, match="missing"):
        tiny.load_state_dict("student")


def test_sparse_file_round_trip(tmp_path):
    known = torch.tensor([0, 7, 49407])
    state = {store.TABLE: torch.randn(3, 8).half().float(), "logit_scale": torch.tensor(2.5)}
    path = store.write(tmp_path / "m.safetensors", state, known)
    table = store.read(path)[store.TABLE]
    assert table.shape == (49408, 8)
    assert torch.equal(table[known], state[store.TABLE])
    assert table.abs().sum(1).nonzero().flatten().tolist() == known.tolist()
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CasPLError, match="not a weights file"):
        store.read(path)


def test_pretraining_resumes_to_the_same_weights(tmp_path, monkeypatch):
    from dataclasses import replace

    from caspl.tiny import pretrain, recipe

    short = replace(
        recipe.RECIPES["student"], sizes=Sizes(64, 32, 8, 64, 1, 64, 1), pictures=1000, steps=4, batch=16, warmup=2
    )
    monkeypatch.setattr(pretrain, "open_or_build", lambda *_: _pool())
    whole, halves = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    pretrain.train(short, whole, tmp_path / "pool", save_every=10)

    def stop(step, recipe, usual=pretrain.learning_rate):
        if step == 2:
            raise KeyboardInterrupt
        return usual(step, recipe)

    with monkeypatch.context() as broken:
        broken.setattr(pretrain, "learning_rate", stop)
        with pytest.raises(KeyboardInterrupt):
            pretrain.train(short, halves, tmp_path / "pool", save_every=2)
    pretrain.train(short, halves, tmp_path / "pool", save_every=2)
    first, second = store.read(whole), store.read(halves)
    assert all(torch.equal(first[key], second[key]) for key in first)


def _pool():
    from caspl.tiny.pool import _chunk

    return _chunk((0, 0))
