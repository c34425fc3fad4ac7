"""A shop to look at: what ``holdfast dev --demo`` runs.

shop    its tasks, which are real: orders come in by a schedule, and some go wrong
past    the day before, written through the engine's verbs with a clock of its own
"""
