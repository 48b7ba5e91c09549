# row: G 10^5 calls at once
# expect: CALL_LIMIT|MEMORY_LIMIT
import asyncio
await asyncio.gather(*[mcp.lab.echo(n=n) for n in range(20_000)], return_exceptions=True)
