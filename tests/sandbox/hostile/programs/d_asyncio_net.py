# row: D TCP
# expect: value "denied"
import asyncio
try:
    await asyncio.wait_for(asyncio.open_connection("127.0.0.1", 9), 2)
    said = "succeeded"
except (ConnectionRefusedError, TimeoutError):
    said = "reached the network"
except Exception:
    said = "denied"
said
