"""CasPL: cascade prompt learning for CLIP (arXiv 2409.17805).

The library behind the trainers: plain CLIP towers that can be opened at their blocks (``caspl.towers``),
prompt segments and their cascade (``caspl.prompts``), the prompted model (``caspl.model``), frozen teachers
(``caspl.teachers.clip``) and losses (``caspl.losses``). Everything takes typed arguments; nothing here knows a
configuration system or a training engine.
"""

__version__ = "0.1.0"
