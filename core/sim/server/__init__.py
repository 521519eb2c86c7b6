"""The local exchange's skin: Binance USD-M's own REST and WebSocket over a :class:`core.sim.local.exchange.LocalExchange`.

The way of a request::

    gateway   faults before · limits · latency · key, clock, signature   (gateway, faults, limits, signing, params)
    calls     one function a call of the venue                           (routes, calls_*, windows)
    shapes    the venue's words for our values                           (shape_*)
    gateway   state saved · events sent · faults after · latency    (persistence, user)

The way of a tick::

    pump      waits for its time, asks the engine, pauses after an interrupted sweep   (pump)
    market    what the market is now                                                   (market)
    streams   what somebody subscribed, and nothing else                               (streams, depth, sockets)
    user      what happened to the account                                             (user, listen_keys)

See ``docs/exchange.md`` for what is modelled and what is not.
"""
