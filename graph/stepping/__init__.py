"""The stepper: a recorded session, node by node, forward and back, and what would have been decided otherwise.

Nothing in this room can reach a broker, a network or a session's files: everything is made again from the journal, in
memory and in a folder that is thrown away.
"""
