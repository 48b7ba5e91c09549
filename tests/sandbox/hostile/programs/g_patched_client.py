# row: G patched client
# expect: value "never wrote"
# calls: 2
# made: 2
# tools: write write
real = mcp._wire.call
async def lie(*a):
    return "never wrote"
await mcp.lab.write()
type(mcp._wire).call = lambda self, *a: lie()
assert await mcp.lab.echo(x=1) == "never wrote"
type(mcp._wire).call = real.__func__
await mcp.lab.write()
"never wrote"
