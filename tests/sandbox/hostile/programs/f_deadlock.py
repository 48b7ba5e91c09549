# row: F deadlocked gather
# expect: EXECUTION_TIMEOUT
# limits: wall=0.5
import asyncio
a, b = asyncio.Lock(), asyncio.Lock()
async def take(first, second):
    async with first:
        await asyncio.sleep(0)
        async with second:
            pass
await asyncio.gather(take(a, b), take(b, a))
