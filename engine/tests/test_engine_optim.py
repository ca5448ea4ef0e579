"""Optimizers, learning-rate schedules, metrics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dassl.config import get_cfg_default
from dassl.metrics import compute_accuracy, compute_distance_matrix
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.optim.lr_scheduler import ConstantWarmupScheduler, LinearWarmupScheduler

# Learning rates of epochs 0 to 9 under the published version: sgd, 0.002, 10 epochs.
COSINE = [2e-3, 1.9510565163e-3, 1.8090169944e-3, 1.5877852523e-3, 1.3090169944e-3, 1e-3, 6.9098300563e-4,
          4.1221474771e-4, 1.9098300563e-4, 4.8943483705e-5]  # fmt: skip
RATES: dict[str, tuple[dict[str, Any], list[float]]] = {
    "cosine warmup 1 constant": (
        {"WARMUP_EPOCH": 1, "WARMUP_TYPE": "constant"}, [1e-5, *COSINE[:9]],
    ),
    "cosine": ({}, COSINE),
    "cosine warmup 3 constant": (
        {"WARMUP_EPOCH": 3, "WARMUP_TYPE": "constant"}, [1e-5, 1e-5, 1e-5, *COSINE[:7]],
    ),
    "cosine warmup 3 linear": (
        {"WARMUP_EPOCH": 3}, [1e-5, 6.6666666667e-4, 1.3333333333e-3, *COSINE[:7]],
    ),
    "cosine warmup 1 constant, counting on": (
        {"WARMUP_EPOCH": 1, "WARMUP_TYPE": "constant", "WARMUP_RECOUNT": False},
        [1e-5, 2e-3, 1.8543973271e-3, 1.6276158471e-3, 1.3418545116e-3, 1.0250856309e-3, 7.0831675029e-4,
         4.2255541474e-4, 1.9577393482e-4, 5.0171261874e-5],
    ),
    "multi_step warmup 2 linear": (
        {"LR_SCHEDULER": "multi_step", "STEPSIZE": (3, 6), "WARMUP_EPOCH": 2},
        [1e-5, 1e-3, 2e-3, 2e-3, 2e-3, 2e-4, 2e-4, 2e-4, 2e-5, 2e-5],
    ),
    "single_step": (
        {"LR_SCHEDULER": "single_step", "STEPSIZE": (3,)},
        [2e-3, 2e-3, 2e-3, 2e-4, 2e-4, 2e-4, 2e-5, 2e-5, 2e-5, 2e-6],
    ),
}  # fmt: skip


def optim_cfg(**settings: Any) -> Any:
    cfg = get_cfg_default().OPTIM
    for key, value in settings.items():
        cfg[key] = value
    return cfg


def schedule(**settings: Any) -> tuple[Any, Any]:
    cfg = optim_cfg(**{"NAME": "sgd", "LR": 0.002, "LR_SCHEDULER": "cosine", "MAX_EPOCH": 10, **settings})
    optimizer = build_optimizer(nn.Linear(2, 2), cfg)
    return optimizer, build_lr_scheduler(optimizer, cfg)


def epochs(optimizer: Any, scheduler: Any, count: int) -> list[float]:
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == [rates[-1]]
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("name", RATES)
def test_published_rates(name: str) -> None:
    settings, expected = RATES[name]
    assert epochs(*schedule(**settings), 10) == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("stop", [1, 2, 5])
def test_state_carries_on(name: str, stop: int) -> None:
    settings, _ = RATES[name]
    uninterrupted = epochs(*schedule(**settings), 10)
    optimizer, scheduler = schedule(**settings)
    epochs(optimizer, scheduler, stop)
    states = optimizer.state_dict(), scheduler.state_dict()
    optimizer, scheduler = schedule(**settings)
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    assert epochs(optimizer, scheduler, 10 - stop) == uninterrupted[stop:]


def test_warmup_attributes() -> None:
    for kind, name, low in (
        (ConstantWarmupScheduler, "constant", "cons_lr"),
        (LinearWarmupScheduler, "linear", "min_lr"),
    ):
        _, scheduler = schedule(WARMUP_EPOCH=2, WARMUP_TYPE=name)
        assert type(scheduler) is kind
        assert getattr(scheduler, low) == 1e-5
        assert (scheduler.warmup_epoch, scheduler.last_epoch, scheduler.base_lrs) == (2, 0, [0.002])
        assert isinstance(scheduler.successor, torch.optim.lr_scheduler.CosineAnnealingLR)


def test_warmup_ignores_verbose() -> None:
    optimizer, successor = schedule()
    scheduler = ConstantWarmupScheduler(optimizer, successor, 1, 1e-5, -1, True)
    assert optimizer.param_groups[0]["lr"] == 1e-5
    assert not hasattr(scheduler, "verbose")


def test_warmup_of_several_groups() -> None:
    cfg = optim_cfg(NAME="sgd", LR=0.1, WARMUP_EPOCH=1, WARMUP_TYPE="constant", LR_SCHEDULER="cosine", MAX_EPOCH=4)
    groups = [{"params": nn.Linear(1, 1).parameters()}, {"params": nn.Linear(1, 1).parameters(), "lr": 0.4}]
    optimizer = build_optimizer(None, cfg, groups)
    scheduler = build_lr_scheduler(optimizer, cfg)
    assert scheduler.get_last_lr() == [1e-5, 1e-5]
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.1, 0.4]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"LR_SCHEDULER": "poly"},
            ValueError,
            r"scheduler must be one of \['single_step', 'multi_step', 'cosine'\]",
        ),
        ({"WARMUP_EPOCH": 1, "WARMUP_TYPE": "poly"}, ValueError, "warmup type must be one of"),
        ({"LR_SCHEDULER": "single_step", "STEPSIZE": (1.5,)}, TypeError, "must be an integer"),
        ({"LR_SCHEDULER": "multi_step", "STEPSIZE": 3}, TypeError, "must be a list"),
    ],
)
def test_schedule_refusals(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        schedule(**settings)


def test_single_step_takes_the_last_size_or_never_comes() -> None:
    assert schedule(LR_SCHEDULER="single_step", STEPSIZE=[2, 4])[1].step_size == 4
    assert schedule(LR_SCHEDULER="single_step", STEPSIZE=4)[1].step_size == 4
    assert schedule(LR_SCHEDULER="single_step", STEPSIZE=(-1,))[1].step_size == 10


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("adam", torch.optim.Adam, {"betas": (0.8, 0.99), "amsgrad": False}),
        ("amsgrad", torch.optim.Adam, {"betas": (0.8, 0.99), "amsgrad": True}),
        ("sgd", torch.optim.SGD, {"momentum": 0.7, "dampening": 0, "nesterov": True}),
        ("rmsprop", torch.optim.RMSprop, {"momentum": 0.7, "alpha": 0.95}),
        ("radam", torch.optim.RAdam, {"betas": (0.8, 0.99), "decoupled_weight_decay": True}),
        ("adamw", torch.optim.AdamW, {"betas": (0.8, 0.99)}),
    ],
)
def test_optimizers(name: str, kind: type, expected: dict[str, Any]) -> None:
    cfg = optim_cfg(
        NAME=name, LR=0.25, WEIGHT_DECAY=0.125, MOMENTUM=0.7, SGD_NESTEROV=True, RMSPROP_ALPHA=0.95,
        ADAM_BETA1=0.8, ADAM_BETA2=0.99,
    )  # fmt: skip
    model = nn.Linear(2, 3)
    model.bias.requires_grad_(False)
    optimizer = build_optimizer(model, cfg)
    assert isinstance(optimizer, kind)
    group = optimizer.param_groups[0]
    assert {key: group[key] for key in expected} == expected
    assert (group["lr"], group["weight_decay"]) == (0.25, 0.125)
    assert group["params"] == [model.weight, model.bias]
    before = model.weight.detach().clone()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(model.weight, before)


def test_optimizer_sources() -> None:
    model, other = nn.Linear(2, 3), nn.Linear(2, 3)
    cfg = optim_cfg(NAME="sgd", LR=0.5)
    assert build_optimizer([model.weight], cfg).param_groups[0]["params"] == [model.weight]
    groups = [{"params": [other.weight], "lr": 0.1}]
    assert build_optimizer(None, cfg, groups).param_groups[0]["lr"] == 0.1
    assert build_optimizer(model, cfg, param_groups=groups).param_groups[0]["params"] == [other.weight]
    with pytest.raises(ValueError, match="optim must be one of .*, but got lion"):
        build_optimizer(model, optim_cfg(NAME="lion"))


def test_staged_rates() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.neck, self.head = nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)

    model = Net()
    for layers in ("head", ("head",), ["head"]):
        cfg = optim_cfg(NAME="sgd", LR=0.5, STAGED_LR=True, NEW_LAYERS=layers)
        first, second = build_optimizer(nn.DataParallel(model), cfg).param_groups
        assert first["lr"] == pytest.approx(0.05)
        assert second["lr"] == 0.5
        assert first["params"] == [*model.backbone.parameters(), *model.neck.parameters()]
        assert second["params"] == list(model.head.parameters())
    with pytest.raises(TypeError, match=r"instance of nn\.Module"):
        build_optimizer(model.parameters(), cfg)
    with pytest.warns(UserWarning, match="staged_lr will be ignored"):
        build_optimizer(model, cfg, param_groups=[{"params": [model.head.weight]}])


def test_accuracy() -> None:
    logits = torch.tensor([[5.0, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5], [0, 5, 4, 3, 2, 1]])
    target = torch.tensor([0, 4, 0])
    one, two, five = compute_accuracy(logits, target, topk=(1, 2, 5))
    assert one.shape == two.shape == five.shape == (1,)
    assert one.item() == pytest.approx(100 / 3)
    assert two.item() == pytest.approx(200 / 3)
    assert five.item() == pytest.approx(200 / 3)
    assert compute_accuracy((logits, None), target)[0].item() == pytest.approx(100 / 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="7 best of 6 classes"):
        compute_accuracy(logits, target, topk=(7,))


def test_distances() -> None:
    a, b = torch.tensor([[0.0, 1.0], [3.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert compute_distance_matrix(a, b).tolist() == [[1.0], [13.0]]
    assert compute_distance_matrix(a, b, metric="cosine").tolist() == [[0.0], [1.0]]
    with pytest.raises(ValueError, match="Unknown distance metric: manhattan"):
        compute_distance_matrix(a, b, metric="manhattan")
    with pytest.raises(AssertionError, match="2-D"):
        compute_distance_matrix(a[0], b)
    with pytest.raises(AssertionError, match="differ"):
        compute_distance_matrix(a, b[:, :1])
