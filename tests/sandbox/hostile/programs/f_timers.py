# row: F waiting for ever
# expect: EXECUTION_TIMEOUT|MEMORY_LIMIT
# limits: wall=0.7
import asyncio
loop = asyncio.get_running_loop()
def again():
    loop.call_soon(again)
    loop.call_later(1e9, again)
again()
await asyncio.Event().wait()
