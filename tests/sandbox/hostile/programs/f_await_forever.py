# row: F waiting for ever
# expect: EXECUTION_TIMEOUT
# limits: wall=0.5
import asyncio
await asyncio.Event().wait()
