"""Measure Holdfast on the machine at hand: what ``holdfast bench`` does.

    tasks      the app that is measured: tasks that do nothing, under names that nobody else has
    measure    the measurements, and cleaning up after them

Everything goes through what users use: the public verbs, and ``holdfast worker`` in processes of its own.
"""
