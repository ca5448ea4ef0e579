"""What the plug-in finds out about a foreign trainer, what it refuses, and what a trainer saves and loads."""

from __future__ import annotations

import copy
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from caspl.dassl.plugin.names import find_start
from caspl.dassl.plugin.stored import STORED_AS
from caspl.errors import CasPLError
from caspl.hooks.foreign import adapted_tower
from caspl.hooks.insertion import insert
from caspl.prompts import Segment
from caspl.towers import tokenize
from tests.conftest import CLASSES, boosting_file
from tests.parity.published import learnable
from tests.plugin import standins
from tests.plugin.clip import CLIP, Style, load_clip_to_cpu
from tests.plugin.harness import foreign, logits, train
from tests.plugin.test_equality import DEEP, batch, config
from tests.tiny_clip import SIZES

OPTIONS: dict[str, dict[str, Any]] = {"CoOp": {"N_CTX": 4}, "IVLP": DEEP, "VPT": {"N_CTX_VISION": 2}}


class Renamed(standins.CoOp):
    """Its model keeps no token ids, and its towers stand further in, beside plain ones."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        inner: Any = super().assemble(clip, names)
        ids = inner.prompt_learner.tokenized_prompts
        inner.prompt_learner.tokenized_prompts = ids.float()  # no longer recognised
        other = load_clip_to_cpu(self.cfg.MODEL.BACKBONE.NAME, Style())
        return Wrapped(inner, other)


class Wrapped(nn.Module):
    def __init__(self, inner: Any, other: CLIP) -> None:
        super().__init__()
        self.student, self.other, self.prompt_learner = inner, other, inner.prompt_learner

    def forward(self, images: Tensor) -> Tensor:
        return self.student(images)


HINTS = {"text_tower": "student.text_encoder", "image_tower": "student.image_encoder", "class_start": 5}


def test_hints_say_what_is_not_found(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    images = batch(0, 0)["img"]
    usual = foreign(standins.CoOp, cfg, CLASSES)
    hinted = foreign(Renamed, cfg, CLASSES, **HINTS)
    hinted.model.student.prompt_learner.ctx.data.copy_(usual.model.prompt_learner.ctx)
    torch.testing.assert_close(logits(hinted, images), logits(usual, images), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("hints", "sentence"),
    [
        (
            {},
            r"Wrapped has several image towers, student.image_encoder, other.visual: say which of them its forward",
        ),
        ({"text_tower": "student", "image_tower": "other.visual"}, "Wrapped.student is no text tower of a CLIP"),
        ({"text_tower": "student.text_encoder", "image_tower": "student.image_encoder"}, "holds no token ids of its 8"),
    ],
)
def test_what_is_not_understood_is_named(
    hints: dict[str, Any], sentence: str, clips: dict[str, str], tmp_path: Path
) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    with pytest.raises(CasPLError, match=sentence):
        logits(foreign(Renamed, cfg, CLASSES, **hints), batch(0, 0)["img"])


class NoTower(standins.CoOp):
    """Neither has its image tower OpenAI's names, nor its blocks the student's weights."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        del model.image_encoder.class_embedding
        model.image_encoder.transformer.resblocks[1].mlp.c_fc.weight.data += 1
        return model


class TwoPlaces(standins.CoOp):
    """The learner's texts have no common prefix before the class names."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        model.prompt_learner.tokenized_prompts = tokenize([f"{'a ' * i}{name}." for i, name in enumerate(names)])
        return model


class Cut(standins.TextEncoder):
    def forward(self, prompts: Tensor, ids: Tensor, deep: Any = ()) -> Tensor:
        x = prompts[:, :40] + self.positional_embedding[:40]
        return self.transformer(x)[:, 39] @ self.text_projection


class CutText(standins.CoOp):
    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        model.text_encoder = Cut(clip)
        for block in model.text_encoder.transformer.resblocks:
            block.mask = block.mask[:40, :40]
        return model


class ByName(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"x": self.block(given["x"])}


class Dictionaries(standins.CoOp):
    """Its blocks take and give dictionaries."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        blocks: Any = clip.visual.transformer.resblocks
        clip.visual.transformer.resblocks = nn.Sequential(*(ByName(block) for block in blocks))
        clip.visual.transformer.forward = lambda x, deep: clip.visual.transformer.resblocks({"x": x})["x"]  # type: ignore
        return super().assemble(clip, names)

    def own_style(self) -> Style:
        return Style(batch_first=True)


class Forgetful(standins.IVLP):
    """Makes its text features once, but keeps its texts too."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        with torch.no_grad():
            text = model.text_encoder(model.prompt_learner(), model.prompt_learner.tokenized_prompts)
        model.features = lambda images: (model.image_encoder(images), text)
        return model


class Unrecognised(standins.CoOp):
    """Runs its texts, whose ids are not found, and keeps features of its class names for a loss."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        with torch.no_grad():
            model.kept = clip.encode_text(tokenize([f"a photo of a {name}." for name in names]))
        model.prompt_learner.tokenized_prompts = model.prompt_learner.tokenized_prompts[:, :70]
        return model


class OtherWords(standins.VPT):
    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        with torch.no_grad():
            model.embeddings.fixed_embeddings = clip.encode_text(tokenize([f"not a {name}" for name in names]))
        return model


@pytest.mark.parametrize(
    ("trainer", "sentence"),
    [
        (
            NoTower,
            "CasPL_NoTower holds no image tower of a CLIP: expected is self.model with a module that has",
        ),
        (TwoPlaces, "the class names do not begin at one place in the texts of Model"),
        (CutText, r"the text tower text_encoder .Cut. gets a tensor of shape .40, 8, 128.: expected is one axis of"),
        (Dictionaries, "a block of the image tower .* takes or gives a dict: expected is a tensor"),
        (Forgetful, "CasPL_Forgetful did not run the text tower text_encoder .* for its first batch"),
        (Unrecognised, "Model holds no token ids of its 8 classes"),
        (OtherWords, "the text features FixedText.fixed_embeddings are made once, of words that are not known"),
    ],
)
def test_foreign_shapes_end_in_a_sentence(trainer: Any, sentence: str, clips: dict[str, str], tmp_path: Path) -> None:
    method = trainer.__bases__[0].__name__
    cfg = config(method, OPTIONS[method], clips["student"], tmp_path)
    with pytest.raises(CasPLError, match=sentence):
        train(foreign(trainer, cfg, CLASSES), batch, 1, 1)


def test_other_weights_are_refused(clips: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    monkeypatch.setattr(standins, "load_clip_to_cpu", lambda name, style: load_clip_to_cpu(clips["other"], style))
    with pytest.raises(CasPLError, match=r"text_encoder .* does not have the weights of .*student.* .positional_emb"):
        foreign(standins.CoOp, cfg, CLASSES)
    file = boosting_file(tmp_path / "other.safetensors", "other")
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path, TRAINER__CASPL__BOOSTING=str(file))
    monkeypatch.undo()
    with pytest.raises(CasPLError, match="were made for the student other"):
        foreign(standins.CoOp, cfg, CLASSES)


def test_a_name_that_leaves_the_tower_is_refused(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    names = [*CLASSES[:3], " ".join(["crop"] * 68)]
    with pytest.raises(CasPLError, match="ends at position 74, and 3 boosting tokens go before it, but .* has 77"):
        foreign(standins.CoOp, cfg, names)
    foreign(standins.CoOp, cfg, [*CLASSES[:3], " ".join(["crop"] * 67)])


@pytest.mark.parametrize(
    ("texts", "names", "start"),
    [
        (["a photo of a cat.", "a photo of a dog."], ["cat", "dog"], 5),
        (["X X St..", "X X J.R.."], ["St.", "J.R."], 3),  # the name fuses with the full stop
        (["a crop, a kind of land.", "a lake, a kind of land."], ["crop", "lake"], 2),
        (["a cat and a cat.", "a cat and a dog."], ["cat", "dog"], 5),
        (["a photo of a sea lake.", "a photo of a River."], ["sea_lake", "River"], 5),
        (["a photo of a cat. the cat is big.", "a photo of a dog. the dog is big."], ["cat", "dog"], 5),
        (["a photo of a cat. the cat is big.", "a photo of a sea lake. the sea lake is big."], ["cat", "sea_lake"], 5),
        (["a photo of a cat."], ["cat"], 5),
    ],
)
def test_where_the_class_name_begins(texts: list[str], names: list[str], start: int) -> None:
    assert find_start(nn.Module(), [tokenize(texts)], names) == start


@pytest.mark.parametrize("method", OPTIONS)
def test_checkpoints_hold_the_boosting_tokens(method: str, clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config(method, OPTIONS[method], clips["student"], tmp_path)
    stand_in = standins.__dict__[method]
    trainer = foreign(stand_in, cfg, CLASSES)
    train(trainer, batch, 2, 2)
    trainer.save_model(1, str(tmp_path / "run"))
    images = batch(9, 9)["img"]
    other = boosting_file(tmp_path / "another.safetensors", seed=7)
    cfg = config(
        method,
        OPTIONS[method],
        clips["student"],
        tmp_path / "b",
        TRAINER__CASPL__BOOSTING=str(other),
    )
    again = foreign(stand_in, cfg, CLASSES)
    assert not torch.equal(logits(again, images), logits(trainer, images))
    again.load_model(str(tmp_path / "run"), epoch=2)
    assert torch.equal(logits(again, images), logits(trainer, images))
    plain = foreign(stand_in, cfg, CLASSES, boosted=False)
    plain.save_model(0, str(tmp_path / "plain"))
    with pytest.raises(CasPLError, match="holds no boosting tokens: it is of a run without the cascade"):
        again.load_model(str(tmp_path / "plain"), epoch=1)
    shallow = boosting_file(tmp_path / "shallow.safetensors", depth=2)
    cfg = config(method, OPTIONS[method], clips["student"], tmp_path, TRAINER__CASPL__BOOSTING=str(shallow))
    with pytest.raises(
        CasPLError, match=r"has boosting tokens text.values of shape \(3, 3, 128\), this run's boosting"
    ):
        foreign(stand_in, cfg, CLASSES).load_model(str(tmp_path / "run"), epoch=2)


def test_only_what_trains_changes(clips: dict[str, str], tmp_path: Path) -> None:
    for trainable in (False, True):
        cfg = config("IVLP", DEEP | {"TRAINABLE": trainable}, clips["student"], tmp_path)
        trainer = foreign(standins.IVLP, cfg, CLASSES)
        before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        boosting = {name for name in before if name.startswith(STORED_AS) and name.endswith("values")}
        assert len(boosting) == 2
        train(trainer, batch, 2, 2)
        changed = {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == set(learnable(trainer)) | (boosting if trainable else set())


def test_a_copy_and_a_second_thread_are_independent(clips: dict[str, str], tmp_path: Path) -> None:
    """As in data parallelism, and in code that keeps a copy of its model."""
    cfg = config("IVLP", DEEP, clips["student"], tmp_path)
    model = foreign(standins.IVLP, cfg, CLASSES).model.eval()
    images = [batch(0, index)["img"] for index in range(4)]
    with torch.no_grad():
        expected = [model(item) for item in images]
        twin = copy.deepcopy(model)
        for value in twin.get_submodule(STORED_AS).buffers():
            value.data.zero_()
        assert not torch.allclose(twin(images[0]), expected[0])
        assert torch.equal(model(images[0]), expected[0])
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(torch.no_grad()(model), images))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_precision_is_the_models(kind: str, dtype: torch.dtype, clips: dict[str, str]) -> None:
    """Their code casts as it likes: the tokens follow."""
    clip = load_clip_to_cpu(clips["student"], Style())
    tower = adapted_tower(clip, kind)
    assert tower is not None
    width = SIZES.vision_width if kind == "image" else SIZES.text_width
    segment = Segment("boosting", torch.randn(2, 3, width))
    insert(tower, segment, None if kind == "image" else 4)
    x = torch.randn(2, 77, width)
    x[:, 0] = 0
    transformer: Any = tower.module.transformer
    with torch.no_grad():
        expected = transformer(x)[:, :70]  # what is behind all end tokens is not read
        for block in transformer.resblocks:
            block.mask = None if block.mask is None else block.mask.to(dtype)
            block.attn.to(dtype)
            block.mlp.to(dtype)
        found = transformer(x.to(dtype))[:, :70]
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)
    assert segment.values.dtype == torch.float32


def test_a_tower_without_its_partner_is_told(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A student whose text features come from elsewhere (PromptKD)."""

    class Student(standins.CoOp):
        def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
            model: Any = super().assemble(clip, names)
            del model.text_encoder
            return model

    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    with caplog.at_level(logging.WARNING, "caspl"):
        trainer = foreign(Student, cfg, CLASSES)
    assert "Model has no text at all: the boosting tokens of the text stay out" in caplog.text
    assert list(trainer.model.prompt_learner.get_submodule(STORED_AS)) == ["text", "vision"]


def test_the_published_name_of_the_ids_decides(clips: dict[str, str], tmp_path: Path) -> None:
    """Other texts of the same classes may lie beside those that are learned."""

    class Beside(standins.CoOp):
        def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
            model: Any = super().assemble(clip, names)
            model.zs_ids = tokenize([f"a {name}." for name in names])
            return model

    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    images = batch(0, 0)["img"]
    usual, beside = foreign(standins.CoOp, cfg, CLASSES), foreign(Beside, cfg, CLASSES)
    beside.model.prompt_learner.ctx.data.copy_(usual.model.prompt_learner.ctx)
    assert torch.equal(logits(beside, images), logits(usual, images))


@pytest.mark.parametrize(
    ("start", "names", "sentence"),
    [
        (0, CLASSES, "cannot begin at position 0 .class_start.: expected is 1 to 73"),
        (74, CLASSES, "cannot begin at position 74"),
        (
            5,
            [*CLASSES[:3], " ".join(["crop"] * 68)],
            "gets texts of more than 74 tokens, and 3 boosting tokens go",
        ),
    ],
)
def test_a_place_that_is_said_is_checked(
    start: int, names: list[str], sentence: str, clips: dict[str, str], tmp_path: Path
) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    hints = HINTS | {"class_start": start}
    with pytest.raises(CasPLError, match=sentence):
        logits(foreign(Renamed, cfg, names, **hints), batch(0, 0)["img"])


def test_kept_features_are_found_as_buffers_and_under_two_names(clips: dict[str, str], tmp_path: Path) -> None:
    class Buffered(standins.VPT):
        def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
            model: Any = super().assemble(clip, names)
            features = model.embeddings.fixed_embeddings
            del model.text_encoder
            model.embeddings.again = features
            model.register_buffer("text", features)
            model.also = model.embeddings
            return model

    cfg = config("VPT", {"N_CTX_VISION": 2}, clips["student"], tmp_path)
    images = batch(0, 0)["img"]
    usual, buffered = foreign(standins.VPT, cfg, CLASSES), foreign(Buffered, cfg, CLASSES)
    buffered.model.image_encoder.VPT.data.copy_(usual.model.image_encoder.VPT)
    assert torch.equal(logits(buffered, images), logits(usual, images))
    assert buffered.model.text is buffered.model.embeddings.again or torch.equal(
        buffered.model.text, buffered.model.embeddings.again
    )


def test_texts_can_be_left_plain(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("VPT", {"N_CTX_VISION": 2}, clips["student"], tmp_path)
    plain, images = foreign(standins.VPT, cfg, CLASSES, boosted=False), foreign(OtherWords, cfg, CLASSES, text=False)
    found, unboosted = (trainer.model.embeddings.fixed_embeddings for trainer in (images, plain))
    assert not torch.equal(found, unboosted)  # other words, and those they are
    assert torch.equal(found, foreign(OtherWords, cfg, CLASSES, boosted=False).model.embeddings.fixed_embeddings)


def test_what_cannot_train_is_refused(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("VPT", {"N_CTX_VISION": 2, "TRAINABLE": True}, clips["student"], tmp_path)
    with pytest.raises(
        CasPLError, match=r"makes its text features \(FixedText.fixed_embeddings\) once, so that the boost"
    ):
        foreign(standins.VPT, cfg, CLASSES)
    with pytest.raises(CasPLError, match="CasPL_ZeroshotCLIP has registered no optimizer with its model"):
        foreign(standins.ZeroshotCLIP, cfg, CLASSES)


class Checkpointed(standins.IVLP):
    """Its blocks run anew in the backward pass."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        for tower in (clip.visual, clip):
            blocks: Any = tower.transformer.resblocks

            def run(x: Tensor, deep: Any = (), blocks: Any = blocks) -> Tensor:
                x = x.permute(1, 0, 2)
                for block in blocks:
                    x = checkpoint(block, x, use_reentrant=False)
                return x.permute(1, 0, 2)

            tower.transformer.forward = run  # type: ignore[method-assign]
        return super().assemble(clip, names)


def test_gradient_checkpointing(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("IVLP", DEEP, clips["student"], tmp_path)
    torch.manual_seed(0)
    expected = train(foreign(standins.IVLP, cfg, CLASSES), batch, 2, 2)
    torch.manual_seed(0)
    assert train(foreign(Checkpointed, cfg, CLASSES), batch, 2, 2) == pytest.approx(expected, abs=1e-5)
    shallow = boosting_file(tmp_path / "shallow.safetensors", depth=2)
    cfg = config("IVLP", DEEP, clips["student"], tmp_path, TRAINER__CASPL__BOOSTING=str(shallow))
    with pytest.raises(CasPLError, match="do not run one after the other .gradient checkpointing"):
        train(foreign(Checkpointed, cfg, CLASSES), batch, 1, 1)


def test_a_pass_that_is_broken_off_leaves_nothing(clips: dict[str, str], tmp_path: Path) -> None:
    shallow = boosting_file(tmp_path / "shallow.safetensors", depth=1)
    cfg = config("IVLP", DEEP, clips["student"], tmp_path, TRAINER__CASPL__BOOSTING=str(shallow))
    model = foreign(standins.IVLP, cfg, CLASSES).model
    images = batch(0, 0)["img"]
    expected = model(images).detach()

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    handle = model.image_encoder.transformer.resblocks[2].register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        model(images)
    handle.remove()
    assert torch.equal(copy.deepcopy(model)(images), expected)
    assert torch.equal(model(images), expected)


def test_hooks_of_the_code_base_see_what_they_are_used_to(clips: dict[str, str], tmp_path: Path) -> None:
    seen = []

    class Hooked(standins.CoOp):
        def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
            block: Any = clip.visual.transformer.resblocks[1]
            block.register_forward_hook(lambda module, args, output: seen.append((args[0].shape[0], output.shape[0])))
            block.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[0]))
            return super().assemble(clip, names)

    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    logits(foreign(Hooked, cfg, CLASSES), batch(0, 0)["img"])
    tokens = SIZES.grid**2 + 1
    assert seen[0] == tokens
    assert seen[1][1] == tokens


def test_tokens_are_stored_with_their_model(clips: dict[str, str], tmp_path: Path) -> None:
    """Not in a container that a trainer has registered before, which would run them."""

    class Adapter(standins.CoOp):
        def build_model(self) -> None:
            super().build_model()
            prompts = (self._models.pop("prompts"), self._optims.pop("prompts"), self._scheds.pop("prompts"))
            self.model.adapter = nn.Sequential(nn.Linear(2, 2))
            self.register_model("adapter", self.model.adapter)
            self.register_model("prompts", *prompts)

    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    trainer = foreign(Adapter, cfg, CLASSES)
    assert len(trainer.model.adapter) == 1
    assert STORED_AS in dict(trainer.model.prompt_learner.named_children())


def test_two_clips_and_no_model(clips: dict[str, str], tmp_path: Path) -> None:
    class Twice(standins.ZeroshotCLIP):
        def build_model(self) -> None:
            super().build_model()
            self.clip = self.clip_model

    class Two(Twice):
        def build_model(self) -> None:
            super().build_model()
            self.clip = copy.deepcopy(self.clip_model)

    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    foreign(Twice, cfg, CLASSES)
    with pytest.raises(CasPLError, match=r"CasPL_Two holds 2 CLIPs \(CLIP, CLIP\): expected is one, as self.model"):
        foreign(Two, cfg, CLASSES)


def test_it_says_what_is_boosted_and_what_is_left(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config("PromptSRC", DEEP, clips["student"], tmp_path)
    with caplog.at_level(logging.INFO, "caspl"):
        foreign(standins.PromptSRC, cfg, CLASSES)
    assert "left plain: the image tower prompt_learner.ZS_image_encoder (ImageTower)" in caplog.text
