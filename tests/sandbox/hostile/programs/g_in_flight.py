# row: G 10^5 calls at once
# expect: EXECUTION_TIMEOUT
# limits: in_flight=1 wall=1
# red: limit in_flight=8
import asyncio
await asyncio.gather(*[mcp.lab.sleep(s=0.4) for _ in range(6)])
1
