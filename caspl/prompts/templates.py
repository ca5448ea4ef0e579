"""Text templates: one a data set (zero-shot CLIP and CasPL's teacher), and PromptSRC's ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caspl.errors import CasPLError

DEFAULT_TEMPLATE = "a photo of a {}."

DATASET_TEMPLATES = {
    "OxfordPets": "a photo of a {}, a type of pet.",
    "OxfordFlowers": "a photo of a {}, a type of flower.",
    "FGVCAircraft": "a photo of a {}, a type of aircraft.",
    "DescribableTextures": "{} texture.",
    "EuroSAT": "a centered satellite photo of {}.",
    "Food101": "a photo of {}, a type of food.",
    "UCF101": "a photo of a person doing {}.",
    "TinySat": "an overhead photo of {}.",
    "TinySatV2": "an overhead photo of {}.",
    "TinySatSketch": "an overhead photo of {}.",
    "TinySatR": "an overhead photo of {}.",
    "TinyCloth": "a photo of {}.",
}

KGCOOP_TEMPLATES = DATASET_TEMPLATES | {"DescribableTextures": "a photo of a {}, a type of texture."}
"""Of KgCoOp, COMMA and CoPrompt."""
TCP_TEMPLATES = KGCOOP_TEMPLATES | {
    "FGVCAircraft": "a photo of an aircraft {}.",
    "Food101": "a photo of a {}, a type of food.",
}
TCP_TEXTS = {
    "OxfordPets": "{}, a type of pet.",
    "OxfordFlowers": "{}, a type of flower.",
    "FGVCAircraft": "{}, a type of aircraft.",
    "DescribableTextures": "{} texture.",
    "StanfordCars": "{}, a type of car",
    "Food101": "{}, a type of food.",
    "UCF101": "person doing {}.",
}
"""What stands around the name behind TCP's context; elsewhere the name and a full stop."""
PROGRAD_TEMPLATES = DATASET_TEMPLATES | {
    "OxfordPets": "a type of pet, a photo of a {}.",
    "OxfordFlowers": "a type of flower, a photo of a {}.",
    "FGVCAircraft": "a type of aircraft, a photo of a {}.",
    "DescribableTextures": "a texture of {}.",
    "Food101": "a type of food, a photo of {}.",
}

# CLIP's ImageNet templates in the order in which PromptSRC uses its sixty: the plain one first.
ENSEMBLE = (
    "a photo of a {}.",
    *(
        f"{line}."
        for line in """a bad photo of a {}
a photo of many {}
a sculpture of a {}
a photo of the hard to see {}
a low resolution photo of the {}
a rendering of a {}
graffiti of a {}
a bad photo of the {}
a cropped photo of the {}
a tattoo of a {}
the embroidered {}
a photo of a hard to see {}
a bright photo of a {}
a photo of a clean {}
a photo of a dirty {}
a dark photo of the {}
a drawing of a {}
a photo of my {}
the plastic {}
a photo of the cool {}
a close-up photo of a {}
a black and white photo of the {}
a painting of the {}
a painting of a {}
a pixelated photo of the {}
a sculpture of the {}
a bright photo of the {}
a cropped photo of a {}
a plastic {}
a photo of the dirty {}
a jpeg corrupted photo of a {}
a blurry photo of the {}
a photo of the {}
a good photo of the {}
a rendering of the {}
a {} in a video game
a photo of one {}
a doodle of a {}
a close-up photo of the {}
the origami {}
the {} in a video game
a sketch of a {}
a doodle of the {}
a origami {}
a low resolution photo of a {}
the toy {}
a rendition of the {}
a photo of the clean {}
a photo of a large {}
a rendition of a {}
a photo of a nice {}
a photo of a weird {}
a blurry photo of a {}
a cartoon {}
art of a {}
a sketch of the {}
a embroidered {}
a pixelated photo of a {}
itap of the {}""".splitlines()
    ),
)

# CLIP's own selection of seven of its eighty ImageNet templates.
SELECTED = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


# LASP's, in its order; one stands there twice.
LASP_TEMPLATES = (
    "a photo of a {}, a type of flower.",
    "a photo of a person doing {}.",
    "a centered satellite photo of {}.",
    "a photo of a {}, a type of aircraft.",
    "{} texture.",
    *SELECTED,
    *(
        f"{line}."
        for line in """a photo of a {}
a photo of many {}
a photo of the hard to see {}
a low resolution photo of the {}
a rendering of a {}
a bad photo of the {}
a cropped photo of the {}
a pixelated photo of the {}
a bright photo of the {}
a cropped photo of a {}
a photo of the {}
a good photo of the {}
a rendering of the {}
a close-up photo of the {}
a low resolution photo of a {}
a rendition of the {}
a photo of the clean {}
a photo of a large {}
a blurry photo of a {}
a pixelated photo of a {}
itap of the {}
a jpeg corrupted photo of the {}
a good photo of a {}""".splitlines()
    ),
)


def template_for(dataset: str, published: Mapping[str, str] = DATASET_TEMPLATES) -> str:
    """The template of a data set by its ``DATASET.NAME``; the plain one where none is published.

    Args:
        dataset: its name.
        published: a method's own list, of those above.
    """
    return published.get(dataset, DEFAULT_TEMPLATE)


def checked(template: str) -> str:
    """The template itself, if it has one place for the class name.

    Raises:
        CasPLError: otherwise.
    """
    if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
        raise CasPLError(f"the template {template!r} must hold {{}} once, for the class name, and no other braces")
    if template.split("{}")[0][-1:].strip():
        raise CasPLError(f"the template {template!r} needs a space before {{}}")
    return template


def fill(template: str, classnames: Sequence[str]) -> list[str]:
    """One text a class; underscores in names are read as spaces."""
    return [template.format(name.replace("_", " ")) for name in classnames]
