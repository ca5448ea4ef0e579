"""The shipped pair: files, format and what it can do on the validation split."""

import pytest
import torch

from caspl import tiny
from caspl.errors import CasPLError
from caspl.tiny import store, zeroshot
from caspl.tiny.domain import DOMAINS
from caspl.towers import Sizes


@pytest.fixture(scope="module")
def validation():
    return zeroshot.pictures("val")


def test_teacher_is_clearly_better_than_a_student_that_is_clearly_better_than_chance(validation):
    images, labels = validation
    logits = {name: zeroshot.zero_shot_logits(tiny.load_state_dict(name), images) for name in tiny.MODELS}
    accuracy = {name: zeroshot.accuracies(guess, labels)["all"] for name, guess in logits.items()}
    chance = 100 / len(tiny.CLASSNAMES)
    assert accuracy["student"] > 6 * chance
    assert accuracy["teacher"] > accuracy["student"] + 8
    assert accuracy["teacher"] < 85, "near the ceiling there is nothing left to adapt"
    sure = logits["teacher"].softmax(-1).max(-1).values.mean()
    assert 0.3 < sure < 0.9, "a teacher that is always or never sure has nothing to distil"


@pytest.mark.parametrize("name", sorted(set(DOMAINS) - {"tinysat"}))
def test_the_other_domains_are_hard_too_and_the_teacher_is_ahead_there(name):
    images, labels = zeroshot.pictures("val", domain=DOMAINS[name])
    accuracy = {}
    for model in tiny.MODELS:
        logits = zeroshot.zero_shot_logits(tiny.load_state_dict(model), images, DOMAINS[name])
        accuracy[model] = zeroshot.accuracies(logits, labels)["all"]
    assert 30 < accuracy["student"] < 60
    assert accuracy["student"] + 10 < accuracy["teacher"] < 85


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


def test_zero_shot_command_reads_given_files(capsys, validation):
    path = str(tiny.weights_file("student"))
    zeroshot.main([path, "--split", "val"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(path))
    images, labels = validation
    expected = zeroshot.accuracies(zeroshot.zero_shot_logits(tiny.load_state_dict("student"), images), labels)
    assert line.split()[1:5] == [f"{value:.1f}" for value in expected.values()]


def test_accuracies_of_the_halves_leave_the_other_half_out():
    logits = torch.tensor([[1.0, 0, 9, 0], [0, 1, 0, 0], [9, 0, 1, 0], [0, 0, 1, 0]])
    found = zeroshot.accuracies(logits, torch.arange(4))
    assert found["all"] == 25.0
    assert (found["base"], found["new"]) == (100.0, 50.0)
    assert found["HM"] == pytest.approx(200 / 3)
