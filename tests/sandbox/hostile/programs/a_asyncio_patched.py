# row: A deleted modules
# expect: ok|CAPABILITY_ERROR|WORKER_CRASH|EXECUTION_TIMEOUT
# limits: wall=1
import asyncio
asyncio.all_tasks = lambda *a: 1 / 0
asyncio.gather = asyncio.sleep = None
asyncio.BaseEventLoop.call_soon = lambda *a, **k: None
asyncio.Future.set_result = lambda *a: None
await mcp.lab.echo(x=1)
