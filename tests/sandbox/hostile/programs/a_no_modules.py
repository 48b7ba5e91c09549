# row: A deleted modules
# expect: ok|CAPABILITY_ERROR|WORKER_CRASH
import sys
for name in list(sys.modules):
    del sys.modules[name]
await mcp.lab.echo(x=1)
