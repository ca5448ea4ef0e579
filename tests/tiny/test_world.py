"""The general world: determinism, captions that tell the truth, words, and distance from the target style."""

import ast
import inspect

import numpy as np
import pytest
import torch

from caspl.prompts.templates import ENSEMBLE
from caspl.tiny import CLASSNAMES, captions, colours, pool, shapes, store, vocabulary, weights_file, world
from caspl.tiny.domain import DOMAINS
from caspl.tiny.objective import contrastive, fitting
from caspl.towers import tokenize


def test_a_seed_fixes_pictures_and_captions():
    first, again, other = (pool._chunk(key) for key in ((7, 0), (7, 0), (7, 1)))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.images, other.images)


def test_captions_name_what_the_scene_holds():
    rng = np.random.default_rng(0)
    scenes = world.sample(rng, 500)
    texts, told = captions.captions(rng, scenes)
    assert 0.3 < told.mean() < 0.8
    for i, text in enumerate(texts):
        words = text.rstrip(".").split()
        pair = f"{colours.NAMES[scenes.colour[i]]} {shapes.NAMES[scenes.shape[i]]}"
        assert pair in text
        if told[i]:
            assert colours.NAMES[scenes.ground[i]] in words


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_words_of_the_domain_and_of_the_stock_templates_are_known_to_the_weights(name):
    table = store.read(weights_file(name))[store.TABLE]
    known = set(torch.nonzero(table.abs().sum(1)).flatten().tolist())
    domain = [one.template.format(word) for one in DOMAINS.values() for word in one.classnames]
    stock = [line.format(CLASSNAMES[0]) for line in ENSEMBLE]
    padding = {0}
    assert set(tokenize(domain + stock).unique().tolist()) - padding <= known
    assert len(known) < 300


def test_known_ids_cover_all_captions():
    rng = np.random.default_rng(1)
    texts, _ = captions.captions(rng, world.sample(rng, 3000))
    assert vocabulary.compact(texts, vocabulary.known_ids()).shape == (3000, vocabulary.LONGEST)
    with pytest.raises(ValueError, match="does not list"):
        vocabulary.compact(["a submarine"], vocabulary.known_ids())


def test_the_general_world_cannot_reach_the_target_style():
    """Nothing that pre-training imports leads to the target's renderer or to its fractal terrain."""
    from caspl.tiny import objective, pretrain, recipe

    for module in (world, captions, pool, vocabulary, pretrain, recipe, objective, store):
        source = inspect.getsource(module)
        names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
        names |= {a.name for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom) for a in n.names}
        assert not names & {"landscape", "domain", "fractal_field", "CLASSNAMES"}, module.__name__


def test_every_structure_is_drawn_and_differs_from_the_others():
    n = len(shapes.NAMES)
    x, y = (np.repeat(a, n, axis=0) for a in world.pixel_grid(1))
    one = np.ones((n, 1, 1), dtype=np.float32)
    masks = shapes.coverage(np.arange(n), x, y, 10 * one, 0.5 * one)
    assert ((masks >= 0) & (masks <= 1)).all()
    share = masks.mean((1, 2))
    assert (share > 0.1).all()
    assert (share < 0.9).all()
    gaps = np.abs(masks[:, None] - masks[None]).mean((2, 3)) + np.eye(n)
    assert gaps.min() > 0.05


def test_captions_that_fit_several_pictures_are_no_negatives():
    labels = torch.tensor([[1, 2, 3], [1, 2, 4], [1, 5, 3]])
    told = torch.tensor([True, False, True])
    fits = fitting(labels, told)
    assert fits.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    perfect = torch.eye(3)
    assert contrastive(perfect, perfect, torch.tensor(50.0), torch.eye(3)) < 1e-6
    assert contrastive(perfect, perfect[[1, 2, 0]], torch.tensor(50.0), torch.eye(3)) > 10
