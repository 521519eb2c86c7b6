"""The live broker: orders that cannot be lost.

An order is on the disk before a byte of it is sent (``outbox``), its fate is told by number (``outcome``) or looked up
until it is proven (``resolver``); what the venue says comes in one place (``intake``) and becomes the books' events;
positions are covered from their first fill (``protection``, ``guardian``); a start makes journal and venue agree
(``recovery``), and they are compared from then on (``audit``).
"""
