# row: H secrets in plain
# secret: plain
# expect: UNKNOWN_TOOL
await mcp.lab[args["secret"]]()
