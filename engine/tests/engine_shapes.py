"""Trainers in the shape that the repositories of the field give them."""

from __future__ import annotations

import datetime
import os.path as osp
import time
from typing import Any

import torch
import torch.nn as nn
from engine_toy import ColourNet
from torch.nn import functional as F
from tqdm import tqdm

from dassl.data import DataManager
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    AverageMeter,
    MetricMeter,
    count_num_param,
    load_checkpoint,
)


@TRAINER_REGISTRY.register()
class PromptShape(TrainerX):
    """As CoOp, MaPLe and PromptSRC: one learner in a larger, frozen model; its own load_model."""

    def check_cfg(self, cfg: Any) -> None:
        assert cfg.TRAINER.COOP.PREC in ["fp16", "fp32", "amp"]

    def build_model(self) -> None:
        cfg = self.cfg
        classnames = self.dm.dataset.classnames
        print(f"Loading CLIP (backbone: {cfg.MODEL.BACKBONE.NAME})")
        self.model = nn.ModuleDict({"prompt_learner": ColourNet(), "frozen": nn.Linear(4, len(classnames))})
        for name, param in self.model.named_parameters():
            if "prompt_learner" not in name:
                param.requires_grad_(False)
        self.model.to(self.device)
        self.optim = build_optimizer(self.model.prompt_learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("prompt_learner", self.model.prompt_learner, self.optim, self.sched)
        self.scaler = None
        print(f"# params: {count_num_param(self.model.prompt_learner):,}")

    def forward_backward(self, batch: Any) -> dict[str, float]:
        image, label = self.parse_batch_train(batch)
        output = self.model_inference(image)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        loss_summary = {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return loss_summary

    def model_inference(self, input: Any) -> Any:
        return self.model.frozen(self.model.prompt_learner(input))

    def parse_batch_train(self, batch: Any) -> Any:
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def load_model(self, directory: str, epoch: Any = None) -> None:
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        for name in self.get_model_names():
            model_file = "model-best.pth.tar" if epoch is None else "model.pth.tar-" + str(epoch)
            model_path = osp.join(directory, name, model_file)
            if not osp.exists(model_path):
                raise FileNotFoundError(f'Model not found at "{model_path}"')
            checkpoint = load_checkpoint(model_path)
            print(f'Loading weights to {name} from "{model_path}" (epoch = {checkpoint["epoch"]})')
            self._models[name].load_state_dict(checkpoint["state_dict"], strict=False)


@TRAINER_REGISTRY.register()
class DistilShape(PromptShape):
    """As PromptKD: builds a second data manager and evaluates by itself."""

    @torch.no_grad()
    def test(self, split: Any = None) -> Any:
        self.set_model_mode("eval")
        self.evaluator.reset()
        if split is None:
            split = self.cfg.TEST.SPLIT
        if split == "val" and self.val_loader is not None:
            data_loader = self.val_loader
        elif split == "train":
            data_loader = self.train_loader_x
        else:
            split = "test"
            data_loader = DataManager(self.cfg).test_loader
        print(f"Evaluate on the *{split}* set")
        for _, batch in enumerate(tqdm(data_loader, disable=True)):
            image, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(image), label)
        results = self.evaluator.evaluate()
        for key, value in results.items():
            self.write_scalar(f"{split}/{key}", value, self.epoch)
        return list(results.values())[0]


@TRAINER_REGISTRY.register()
class LoopShape(PromptShape):
    """As FDBPL: its own run_epoch and after_train, and forward_backward with more arguments."""

    def run_epoch(self) -> None:
        self.set_model_mode("train")
        losses, batch_time, data_time = MetricMeter(), AverageMeter(), AverageMeter()
        self.num_batches = len(self.train_loader_x)
        end = time.time()
        for self.batch_idx, batch in enumerate(self.train_loader_x):  # noqa: B020
            data_time.update(time.time() - end)
            losses.update(self.forward_backward(batch, self.epoch, self.batch_idx))
            batch_time.update(time.time() - end)
            info = [
                f"epoch [{self.epoch + 1}/{self.max_epoch}]",
                f"{losses}",
                f"lr {self.get_current_lr():.4e}",
            ]
            print(" ".join(info))
            n_iter = self.epoch * self.num_batches + self.batch_idx
            for name, meter in losses.meters.items():
                self.write_scalar("train/" + name, meter.avg, n_iter)
            end = time.time()

    def forward_backward(self, batch: Any, epoch: int, batch_idx: int) -> Any:  # type: ignore[override]
        assert (epoch, batch_idx) == (self.epoch, self.batch_idx)
        return super().forward_backward(batch)

    def after_train(self) -> None:
        print("Finish training")
        self.test()
        print(f"Elapsed: {datetime.timedelta(seconds=round(time.time() - self.time_start))!s}")
        self.close_writer()


@TRAINER_REGISTRY.register()
class ZeroShape(TrainerX):
    """As ZeroshotCLIP: nothing to learn, nothing registered."""

    def build_model(self) -> None:
        torch.manual_seed(0)
        self.net = ColourNet().to(self.device)

    def model_inference(self, input: Any) -> Any:
        return self.net(input)
