# row: G frames that break msgpack
# expect: CAPABILITY_ERROR
# made: 0
await mcp.lab.write(x="\ud800")
