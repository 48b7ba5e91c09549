# row: B threads
# expect: CAPABILITY_ERROR
import threading, asyncio
def other():
    asyncio.run(mcp.lab.echo(x=1))
thread = threading.Thread(target=other)
thread.start()
thread.join()
1 / 0
