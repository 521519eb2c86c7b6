"""A world in one process: virtual time, a network without sockets, disks that lose power, nodes that die; one seed fixes all.

==============  =====================================================================================
``loop``        the event loop on virtual time, and whose code is running (``NODE``)
``clocks``      wall clocks per node, and the cures for all that would differ between two runs
``network``     hosts, listeners, latency, and what can befall a link; ``link`` its two ends
``disk``        what plain files (here) and SQLite (``sqlite``) do to a disk, and what an end leaves of it
``world``       nodes that start, die and start again; scripts of trouble; the trace; one command per seed
==============  =====================================================================================

A scenario is a coroutine function of a module, run by :func:`~tests.support.simulation.world.run_world`::

    async def scenario(world: World) -> None:
        world.start("exchange", serve, hosts=("fapi.binance.com",))
        bot = world.start("bot", trade)
        world.at(30.0, world.kill, "bot")
        world.at(31.0, world.restart, "bot")
        await asyncio.sleep(60.0)

    run_world(7, scenario)

Computing takes no virtual time, TLS is not spoken, there are no threads; module globals outlive a kill.
"""
