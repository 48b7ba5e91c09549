# row: F deadlocked gather
# expect: CAPABILITY_ERROR|EXECUTION_TIMEOUT
# limits: wall=0.5
import asyncio
await asyncio.current_task()
