"""Which requests run in a step, and when each is done: queue, scheduler, KV blocks and event loop.

The one entry is `simulator.engine.loop.run`.
"""
