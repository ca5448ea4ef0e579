"""Construction, the training loop, evaluation."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from engine_toy import ColourNet, ToyTrainer
from torch import nn

from dassl.data.datasets import Datum
from dassl.engine import SimpleNet, SimpleTrainer, TrainerBase, TrainerX, TrainerXU, build_trainer
from dassl.engine import simple as simple_module


def test_construction_order(make_cfg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Trainer(ToyTrainer):
        def check_cfg(self, cfg: Any) -> None:
            assert set(vars(self)) == {"_models", "_optims", "_scheds", "_writer"}
            events.append("check_cfg")

        def build_data_loader(self) -> None:
            assert self.device == torch.device("cpu")
            assert (self.start_epoch, self.epoch, self.max_epoch) == (0, 0, 3)
            assert self.output_dir == self.cfg.OUTPUT_DIR
            super().build_data_loader()
            events.append("data")

        def build_model(self) -> None:
            assert self.num_classes == len(self.lab2cname) == 4
            assert self.dm.dataset.classnames == ["c0", "c1", "c2", "c3"]
            assert self.num_source_domains == 0
            assert self.train_loader_u is None
            assert self.test_loader is self.dm.test_loader
            assert not hasattr(self, "evaluator")
            super().build_model()
            events.append("model")

    def build_evaluator(cfg: Any, lab2cname: Any) -> str:
        events.append("evaluator")
        return f"evaluates {len(lab2cname)} classes"

    monkeypatch.setattr(simple_module, "build_evaluator", build_evaluator)
    trainer = Trainer(make_cfg())
    assert events == ["check_cfg", "data", "model", "evaluator"]
    assert trainer.evaluator == "evaluates 4 classes"
    assert trainer.best_result == float("-inf")


def test_registration() -> None:
    class Early(TrainerBase):
        def __init__(self) -> None:
            self.register_model("early", nn.Linear(1, 1))

    with pytest.raises(AttributeError, match=r"Cannot assign model before super\(\).__init__\(\) call"):
        Early()
    trainer = TrainerBase()
    first, second = nn.Linear(1, 1), nn.Dropout()
    trainer.register_model("first", first)
    trainer.register_model("second", second)
    assert trainer.get_model_names() == ["first", "second"]
    assert trainer.get_model_names("second") == ["second"]
    assert trainer.get_model_names(["second", "first"]) == ["second", "first"]
    with pytest.raises(AssertionError, match="third"):
        trainer.get_model_names("third")
    with pytest.raises(AssertionError, match="Found duplicate model names"):
        trainer.register_model("first", first)
    trainer.set_model_mode("eval", "second")
    assert (first.training, second.training) == (True, False)
    trainer.set_model_mode("test")
    assert not first.training
    trainer.set_model_mode()
    assert first.training
    with pytest.raises(KeyError):
        trainer.set_model_mode("sleep")


def test_steps_skip_what_is_not_there() -> None:
    trainer = TrainerBase()
    learner, frozen = nn.Linear(1, 1), nn.Linear(1, 1)
    optimizer = torch.optim.SGD(learner.parameters(), lr=1.0)
    trainer.register_model("frozen", frozen)
    trainer.register_model("learner", learner, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5))
    learner.weight.grad = torch.full((1, 1), 5.0)
    before = learner.weight.item()
    trainer.model_backward_and_update(learner.weight.sum())
    assert learner.weight.item() == pytest.approx(before - 1)
    trainer.update_lr()
    assert optimizer.param_groups[0]["lr"] == 0.5
    with pytest.raises(FloatingPointError, match="Loss is infinite or NaN!"):
        trainer.model_backward(learner.weight.sum() / 0)


def test_base_class_leaves_the_work_to_others(make_cfg: Any) -> None:
    trainer = TrainerBase()
    calls: list[tuple[Any, ...]] = [(trainer.run_epoch,), (trainer.test,), (trainer.forward_backward, {})]
    calls += [(trainer.parse_batch_train, {}), (trainer.parse_batch_test, {}), (trainer.model_inference, {})]
    for call, *args in calls:
        with pytest.raises(NotImplementedError):
            call(*args)
    for kind in (SimpleTrainer, TrainerX, TrainerXU):
        with pytest.raises(NotImplementedError, match=f"{kind.__name__} must override build_model"):
            kind(make_cfg())
    with pytest.raises(NotImplementedError, match="dassl.modeling"):
        SimpleNet()


LINE = re.compile(
    r"epoch \[(\d+)/3\] batch \[(\d+)/5\] time \d+\.\d{3} \(\d+\.\d{3}\) data \d+\.\d{3} \(\d+\.\d{3}\) "
    r"loss \d+\.\d{4} \(\d+\.\d{4}\) acc \d+\.\d{4} \(\d+\.\d{4}\) lr (\d\.\d{4}e[-+]\d\d) eta \d+:\d\d:\d\d"
)


@pytest.mark.parametrize(("frequency", "batches"), [(2, [2, 4]), (5, [5]), (6, [1, 2, 3, 4, 5]), (0, []), (-1, [])])
def test_lines(make_trainer: Any, capsys: pytest.CaptureFixture[str], frequency: int, batches: list[int]) -> None:
    make_trainer("TRAIN.PRINT_FREQ", frequency).train()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    found = []
    for line in lines:
        match = LINE.fullmatch(line)
        assert match is not None, line
        found.append((int(match[1]), int(match[2]), match[3]))
    # In the last batch of an epoch the method has moved on to the next one's learning rate.
    rates = ["2.0000e-03", "1.5000e-03", "5.0000e-04", "0.0000e+00"]
    expected = [(epoch + 1, batch, rates[epoch + (batch == 5)]) for epoch in range(3) for batch in batches]
    assert found == expected


def test_schedules_are_left_to_the_method(make_trainer: Any) -> None:
    trainer = make_trainer()
    trainer.update_lr = lambda: None
    trainer.train()
    assert set(trainer.rates) == {0.002}


def test_metrics_of_a_batch(make_trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = make_trainer("TRAIN.PRINT_FREQ", 5, "OPTIM.MAX_EPOCH", 1)
    trainer.forward_backward = lambda batch: {"loss KL forward": torch.tensor(float(trainer.batch_idx))}
    trainer.train()
    assert "loss KL forward 4.0000 (2.0000) lr" in capsys.readouterr().out
    trainer.forward_backward = lambda batch: None
    trainer.run_epoch()
    trainer.forward_backward = lambda batch: [1.0]
    with pytest.raises(TypeError, match="must be a dictionary"):
        trainer.run_epoch()


def test_splits(make_trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = make_trainer("TEST.SPLIT", "val")
    capsys.readouterr()

    def said(split: str | None) -> str:
        result = trainer.test(split)
        assert type(result) is float
        return re.sub(r"\n\* correct.*", "", capsys.readouterr().out, flags=re.DOTALL)

    val, test = (
        "Evaluate on the *val* set\n=> result\n* total: 8",
        "Evaluate on the *test* set\n=> result\n* total: 12",
    )
    assert [said(split) for split in (None, "val", "test", "train")] == [val, val, test, test]
    trainer.val_loader = None
    assert said("val") == test


def test_a_test_takes_what_code_bases_pass_to_their_own(make_trainer: Any) -> None:
    """ATPrompt's train.py calls ``trainer.test(is_final=True)``."""
    trainer = make_trainer()
    assert trainer.test(is_final=True) == trainer.test() == trainer.test("test", is_final=False)


def test_the_first_of_several_views_is_taken(make_trainer: Any) -> None:
    trainer = make_trainer("DATALOADER.K_TRANSFORMS", 2)
    batch = next(iter(trainer.train_loader_x))
    assert isinstance(batch["img"], list)
    for parse in (TrainerX.parse_batch_train, TrainerX.parse_batch_test):
        assert torch.equal(parse(trainer, batch)[0], batch["img"][0])  # type: ignore[operator]


@pytest.mark.parametrize("lambda_", [1.0, 0.5])
def test_prograd_takes_no_step_against_the_second_loss(make_trainer: Any, lambda_: float) -> None:
    """By hand: of two parameters one is pushed against the second loss, one along with it, and one it does not know."""
    trainer = make_trainer()
    names = ("against", "along", "alone")
    module = torch.nn.ParameterDict({name: torch.nn.Parameter(torch.zeros(2)) for name in names})
    module["frozen"] = torch.nn.Parameter(torch.zeros(2), requires_grad=False)
    trainer.register_model("three", module, torch.optim.SGD(module.parameters(), lr=1.0))
    pushed = torch.tensor([3.0, 4.0])
    loss = module["against"] @ pushed + module["along"] @ pushed + module["alone"] @ pushed
    second = 7 * (module["along"][0] - module["against"][0])  # directions (1, 0) and (-1, 0)
    trainer.prograd_backward_and_update(loss, second, lambda_, names="three")
    assert torch.allclose(module["against"], -torch.tensor([3.0 - lambda_ * 3.0, 4.0]))
    assert torch.equal(module["along"], -pushed)
    assert torch.equal(module["alone"], -pushed)
    assert torch.equal(module["frozen"], torch.zeros(2))


def test_prograd_refuses_a_loss_that_is_not_finite(make_trainer: Any) -> None:
    trainer = make_trainer()
    with pytest.raises(FloatingPointError):
        trainer.prograd_backward_and_update(torch.tensor(1.0), torch.tensor(float("nan")))


def test_evaluation_computes_no_gradients_and_draws_one_number(make_trainer: Any) -> None:
    trainer = make_trainer()
    seen = []
    trainer.model.register_forward_hook(lambda module, args, output: seen.append(output.requires_grad))
    torch.manual_seed(5)
    # What a loader draws when its iteration begins.
    torch.empty((), dtype=torch.int64).random_()
    expected = torch.get_rng_state()
    torch.manual_seed(5)
    trainer.test()
    assert seen == [False]
    assert torch.equal(torch.get_rng_state(), expected)


def test_batches_and_rates(make_trainer: Any) -> None:
    trainer = make_trainer()
    batch = next(iter(trainer.train_loader_x))
    image, label, domain = TrainerX.parse_batch_train(trainer, batch)
    assert (image.shape, label.shape, domain.tolist()) == ((4, 3, 32, 32), (4,), [0, 0, 0, 0])
    image, label = trainer.parse_batch_test(batch)
    assert torch.equal(label, batch["label"])
    assert trainer.model_inference(image).shape == (4, 4)
    trainer.register_model("frozen", nn.Linear(1, 1))
    assert trainer.get_current_lr() == trainer.get_current_lr("prompt_learner") == 0.002
    assert trainer.get_current_lr("frozen") != trainer.get_current_lr("frozen")


def test_no_model(make_cfg: Any, capsys: pytest.CaptureFixture[str]) -> None:
    class Zeroshot(TrainerX):
        def build_model(self) -> None:
            self.model = ColourNet()

    trainer = Zeroshot(make_cfg())
    with pytest.raises(RuntimeError, match="Zeroshot has registered no model"):
        trainer.train()
    trainer.load_model("")
    assert 0 <= trainer.test() <= 100
    assert trainer.resume_model_if_exist(trainer.output_dir) == 0
    assert "No checkpoint found, train from scratch" in capsys.readouterr().out


def test_missing_images_are_named(make_cfg: Any) -> None:
    with (
        pytest.warns(UserWarning, match="No file found"),
        pytest.raises(AssertionError, match=r"DATASET\.ROOT"),
    ):
        build_trainer(make_cfg("DATASET.ROOT", "/nowhere"))
    assert Datum.__init__.__defaults__ == ("", 0, 0, "")
