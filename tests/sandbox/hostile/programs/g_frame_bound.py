# row: G length prefix of 4 GiB
# expect: CAPABILITY_ERROR|PROTOCOL_ERROR|RPC_ERROR|UNKNOWN_TOOL
# made: 0
await mcp.lab["x" * 10**6]()
