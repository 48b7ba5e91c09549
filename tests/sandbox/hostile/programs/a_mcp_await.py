# row: A subclasses
# expect: CAPABILITY_ERROR
# calls: 0
await mcp.lab
