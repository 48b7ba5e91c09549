# row: F deadlocked gather
# expect: EXECUTION_TIMEOUT|ok
# limits: wall=0.7
import asyncio
async def stubborn():
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass
asyncio.ensure_future(stubborn())
await asyncio.sleep(0)
1
