"""A venue's market data: its time, its sockets, its REST, and what of it belongs into one announcement.

==============  =====================================================================================
``clock``       the venue's time, told by the running loop; how far the host's clock is off
``rest``        candles, funding, books and spot by REST: final candles only, page by page
``line``        one socket, dialled again whenever it breaks or falls silent
``depth``       order books kept from differences
``candles``     final candles that wait for their announcement
``venue``       all of one venue, running
``past``        history for the warm-up, in memory
``ntp``         the host's own NTP state
==============  =====================================================================================

``download`` and ``inspect`` are for folders of recordings. The source itself is :mod:`core.data.sources.exchange`.
"""
