"""Trainers in the shape of CoOp, CoCoOp, IVLP, PromptSRC, MaPLe, MPL, VPT and zero-shot CLIP as they are published.

``self.model`` holds ``prompt_learner``, ``image_encoder`` and ``text_encoder``; tensors have the published names; what
is registered, frozen and optimised is as published. Written for these tests; forks vary by :class:`Style`.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.prompts.templates import DEFAULT_TEMPLATE, ENSEMBLE, fill
from caspl.step.averaging import GaussianAverage
from caspl.towers import tokenize
from dassl.engine import TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint
from tests.plugin.clip import CLIP, Style, end_features, load_clip_to_cpu


class TextEncoder(nn.Module):
    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        self.transformer, self.ln_final = clip.transformer, clip.ln_final
        self.positional_embedding, self.text_projection = clip.positional_embedding, clip.text_projection

    def forward(self, prompts: Tensor, ids: Tensor, deep: Any = ()) -> Tensor:
        return end_features(self, prompts, ids, deep)


class PromptLearner(nn.Module):
    """Context before the class name: from words (their number, or ``length`` of them), or drawn."""

    def __init__(self, clip: CLIP, names: list[str], length: int, words: str, classes: int = 0) -> None:
        super().__init__()
        width = clip.positional_embedding.shape[1]
        prefix = words or " ".join("X" * length)
        texts = [f"{prefix} {name.replace('_', ' ')}." for name in names]
        self.tokenized_prompts = tokenize(texts)
        self.n_ctx, self.n_cls = length, len(names)
        with torch.no_grad():
            embedded = clip.token_embedding(self.tokenized_prompts)
        drawn = 0.02 * torch.randn(*([classes] if classes else []), length, width)
        self.ctx = nn.Parameter(embedded[0, 1 : 1 + length].clone() if words and not classes else drawn)
        self.register_buffer("token_prefix", embedded[:, :1])
        self.register_buffer("token_suffix", embedded[:, 1 + length :])

    def assemble(self, ctx: Tensor) -> Tensor:
        """(length, width) or (classes, length, width) -> (classes, positions, width)."""
        ctx = ctx if ctx.dim() == 3 else ctx.expand(self.n_cls, -1, -1)
        return torch.cat([self.token_prefix, ctx, self.token_suffix], dim=1)

    def forward(self) -> Tensor:
        return self.assemble(self.ctx)


class Model(nn.Module):
    """Both towers and a prompt learner."""

    learner: ClassVar[Any] = PromptLearner

    def __init__(self, clip: CLIP, learner: PromptLearner) -> None:
        super().__init__()
        self.prompt_learner = learner
        self.image_encoder, self.text_encoder = clip.visual, TextEncoder(clip)
        self.logit_scale = clip.logit_scale

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised image and text features."""
        text = self.text_encoder(self.prompt_learner(), self.prompt_learner.tokenized_prompts)
        return F.normalize(self.image_encoder(images), dim=-1), F.normalize(text, dim=-1)

    def forward(self, images: Tensor) -> Tensor:
        image, text = self.features(images)
        return self.logit_scale.exp() * image @ text.t()


class StandIn(TrainerX):
    """What all share."""

    section: ClassVar[str]
    style: ClassVar[Style] = Style()
    whole = True  # whether the whole model is registered, or the prompt learner alone

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        raise NotImplementedError

    def own_style(self) -> Style:
        return self.style

    @property
    def options(self) -> Any:
        return self.cfg.TRAINER[self.section]

    def build_model(self) -> None:
        clip = load_clip_to_cpu(self.cfg.MODEL.BACKBONE.NAME, self.own_style())
        self.model = self.assemble(clip, self.dm.dataset.classnames)
        for name, value in self.model.named_parameters():
            value.requires_grad_("VPT" in name or ("prompt_learner" in name and "ZS_" not in name))
        self.model.to(self.device)
        trained = self.model if self.whole else self.model.prompt_learner
        self.optim = build_optimizer(trained, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("prompts", trained, self.optim, self.sched)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.model(images), labels)

    def forward_backward(self, batch: dict[str, Tensor]) -> dict[str, float]:
        loss = self.loss(batch["img"], batch["label"])
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        state = load_checkpoint(f"{directory}/prompts/model.pth.tar-{epoch}")["state_dict"]
        kept = {key: value for key, value in state.items() if not key.endswith(("token_prefix", "token_suffix"))}
        self._models["prompts"].load_state_dict(kept, strict=False)  # those are of other classes


class CoOpLearner(PromptLearner):
    class_token_position = "end"

    def forward(self) -> Tensor:
        whole = self.assemble(self.ctx)
        if self.class_token_position == "end":
            return whole
        kept = self.n_ctx // 2 if self.class_token_position == "middle" else 0
        rows = []
        for row, ids in zip(whole, self.tokenized_prompts, strict=True):
            name = slice(1 + self.n_ctx, int(ids.argmax()) - 1)  # without the full stop
            sos, ctx, rest = row[:1], row[1 : 1 + self.n_ctx], row[name.stop :]
            rows.append(torch.cat([sos, ctx[:kept], row[name], ctx[kept:], rest]))
        return torch.stack(rows)


class CoOp(StandIn):
    section, whole = "COOP", False

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        options = self.options
        length = len(options.CTX_INIT.split()) or options.N_CTX
        learner = CoOpLearner(clip, names, length, options.CTX_INIT, len(names) if options.CSC else 0)
        learner.class_token_position = options.CLASS_TOKEN_POSITION
        return Model(clip, learner)


class CoCoOpModel(Model):
    def forward(self, images: Tensor) -> Tensor:
        learner: Any = self.prompt_learner
        image = F.normalize(self.image_encoder(images), dim=-1)
        logits = []
        for feature, shift in zip(image, learner.meta_net(image), strict=True):
            prompts = learner.assemble(learner.ctx + shift)
            text = F.normalize(self.text_encoder(prompts, learner.tokenized_prompts), dim=-1)
            logits.append(self.logit_scale.exp() * feature @ text.t())
        return torch.stack(logits)


class CoCoOp(StandIn):
    section, whole = "COCOOP", False

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        length = len(self.options.CTX_INIT.split()) or self.options.N_CTX
        learner = PromptLearner(clip, names, length, self.options.CTX_INIT)
        wide, width = clip.visual.output_dim, learner.ctx.shape[-1]
        learner.meta_net = nn.Sequential()
        for name, layer in (
            ("linear1", nn.Linear(wide, max(1, wide // 16))),
            ("relu", nn.ReLU(inplace=True)),
            ("linear2", nn.Linear(max(1, wide // 16), width)),
        ):
            learner.meta_net.add_module(name, layer)
        return CoCoOpModel(clip, learner)


class IVLP(StandIn):
    section = "IVLP"

    def own_style(self) -> Style:
        options = self.options
        return replace(
            self.style,
            text=(options.N_CTX_TEXT, options.PROMPT_DEPTH_TEXT),
            vision=(options.N_CTX_VISION, options.PROMPT_DEPTH_VISION),
        )

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        words = self.options.CTX_INIT if self.options.N_CTX_TEXT <= 4 else ""
        return Model(clip, PromptLearner(clip, names, self.options.N_CTX_TEXT, words))


class PromptSRC(IVLP):
    section = "PROMPTSRC"

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        plain = load_clip_to_cpu(self.cfg.MODEL.BACKBONE.NAME, replace(self.style, text=(0, 0), vision=(0, 0)))
        learner = model.prompt_learner
        learner.ZS_image_encoder = plain.visual
        with torch.no_grad():
            features = [plain.encode_text(tokenize(fill(template, names))) for template in ENSEMBLE]
        learner.fixed_embeddings = torch.stack(features, dim=1).mean(dim=1)
        options = self.options
        self.average = GaussianAverage(options.GPA_MEAN, options.GPA_STD, self.cfg.OPTIM.MAX_EPOCH)
        return model

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        learner, options, scale = self.model.prompt_learner, self.options, self.model.logit_scale.exp()
        image, text = self.model.features(images)
        logits = scale * image @ text.t()
        with torch.no_grad():
            frozen_text = F.normalize(learner.fixed_embeddings, dim=-1)
            frozen = F.normalize(learner.ZS_image_encoder(images), dim=-1)
            frozen_logits = scale * frozen @ frozen_text.t()
        divergence = F.kl_div(logits.log_softmax(1), frozen_logits.log_softmax(1), reduction="sum", log_target=True)
        return (
            F.cross_entropy(logits, labels)
            + options.TEXT_LOSS_WEIGHT * F.l1_loss(text, frozen_text)
            + options.IMAGE_LOSS_WEIGHT * F.l1_loss(image, frozen)
            + divergence / logits.numel()
        )

    def forward_backward(self, batch: dict[str, Tensor]) -> dict[str, float]:
        summary = super().forward_backward(batch)
        if self.batch_idx + 1 == self.num_batches:
            self.average.add(self.epoch + 1, copy.deepcopy(self.model.state_dict()))
            if self.epoch + 1 == self.max_epoch:
                self.model.load_state_dict(self.average.result())
        return summary


class MaPLeModel(Model):
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        learner: Any = self.prompt_learner
        text_deep = list(learner.compound_prompts_text)
        vision_deep = [
            torch.cat([maps[layer](tokens) for maps in learner.projections()]) for layer, tokens in enumerate(text_deep)
        ]
        text = self.text_encoder(learner(), learner.tokenized_prompts, text_deep)
        image = self.image_encoder(images, learner.proj(learner.ctx), vision_deep)
        return F.normalize(image, dim=-1), F.normalize(text, dim=-1)


class MaPLeLearner(PromptLearner):
    def __init__(self, clip: CLIP, names: list[str], length: int, words: str, depth: int) -> None:
        super().__init__(clip, names, length, words)
        width, vision_width = self.ctx.shape[-1], clip.visual.positional_embedding.shape[-1]
        self.proj = nn.Linear(width, vision_width)
        drawn = (nn.Parameter(0.02 * torch.randn(length, width)) for _ in range(depth - 1))
        self.compound_prompts_text = nn.ParameterList(drawn)
        self.add_maps(nn.Linear(width, vision_width), depth - 1)

    def add_maps(self, one: nn.Linear, count: int) -> None:
        self.compound_prompt_projections = nn.ModuleList(copy.deepcopy(one) for _ in range(count))

    def projections(self) -> list[Any]:
        """Maps of each layer, once for every image of the text tokens."""
        return [self.compound_prompt_projections]


class MaPLe(StandIn):
    section = "MAPLE"

    def own_style(self) -> Style:
        return replace(self.style, passes_lists=True, length=self.options.N_CTX)

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        options = self.options
        words = options.CTX_INIT if options.N_CTX <= 4 else ""
        return MaPLeModel(clip, MaPLeLearner(clip, names, options.N_CTX, words, options.PROMPT_DEPTH))


class MPLLearner(MaPLeLearner):
    added: int

    def add_maps(self, one: nn.Linear, count: int) -> None:
        copies = (nn.ModuleList(copy.deepcopy(one) for _ in range(count)) for _ in range(self.added))
        self.txt2img_proj = nn.ModuleList(copies)

    def projections(self) -> list[Any]:
        return list(self.txt2img_proj)


class MPL(StandIn):
    section = "MPL"

    def own_style(self) -> Style:
        return replace(self.style, passes_lists=True, length=self.options.N_CTX, removes=self.options.N_RM_OP)

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        options = self.options
        MPLLearner.added = options.N_ADD_OP
        words = " ".join(["X"] * options.N_CTX) + " " + options.CTX_INIT
        return MaPLeModel(clip, MPLLearner(clip, names, options.N_CTX, words, options.PROMPT_DEPTH))


class FixedText:
    """Not a module: text features, made once."""

    def __init__(self, clip: CLIP, names: list[str]) -> None:
        with torch.no_grad():
            self.fixed_embeddings = clip.encode_text(tokenize(fill(DEFAULT_TEMPLATE, names)))


class VPTModel(nn.Module):
    def __init__(self, clip: CLIP, names: list[str]) -> None:
        super().__init__()
        self.embeddings = FixedText(clip, names)
        self.image_encoder, self.text_encoder, self.logit_scale = clip.visual, TextEncoder(clip), clip.logit_scale

    def forward(self, images: Tensor) -> Tensor:
        text = F.normalize(self.embeddings.fixed_embeddings, dim=-1)
        return self.logit_scale.exp() * F.normalize(self.image_encoder(images), dim=-1) @ text.t()


class VPT(StandIn):
    section = "VPT"

    def own_style(self) -> Style:
        return replace(self.style, vision=(self.options.N_CTX_VISION, self.options.PROMPT_DEPTH_VISION))

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        return VPTModel(clip, names)


class ZeroshotCLIP(TrainerX):
    """Registers nothing, and has no ``self.model``."""

    templates: ClassVar[tuple[str, ...]] = (DEFAULT_TEMPLATE,)

    def build_model(self) -> None:
        self.clip_model = load_clip_to_cpu(self.cfg.MODEL.BACKBONE.NAME, Style())
        names = self.dm.dataset.classnames
        with torch.no_grad():
            each = [self.clip_model.encode_text(tokenize(fill(template, names))) for template in self.templates]
        self.text_features = F.normalize(torch.stack([F.normalize(part, dim=-1) for part in each]).mean(0), dim=-1)

    def model_inference(self, images: Tensor) -> Tensor:
        image = F.normalize(self.clip_model.encode_image(images), dim=-1)
        return self.clip_model.logit_scale.exp() * image @ self.text_features.t()
