# row: G tool not granted
# deny: lab:write
# expect: PERMISSION_DENIED
# calls: 1
# made: 0
await mcp.lab.write()
