"""Dassl's side of the library: the section ``TRAINER.CASPL``, phase 1 as a mixin of trainers, and the plug-in.

Here alone this library reads configs and imports ``dassl``; nothing else in it imports this folder, but for
:mod:`caspl.plugin`, the name under which other code bases know the plug-in.
"""
