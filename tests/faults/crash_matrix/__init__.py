"""The crash matrix: the live broker dies at every place where it can, while everything goes wrong, and must lose nothing.

===========  ======================================================================================
``cells``    what happens in one life: where it dies, what goes wrong, what was being done, all by its number
``market``   the exchange's side: a price that goes where the cell wants it, and who watches what is accepted
``trader``   the bot: real books and live broker, and a script of bars in place of the brain
``story``    one world from its start to its last check
``rules``    what must hold, always or soon
``mutants``  ways of building the broker wrongly, each of which the rules must find
===========  ======================================================================================

``python -m tests.faults.crash_matrix --lives 10000`` runs them; ``--seed S --lives 1`` runs one again.
"""
