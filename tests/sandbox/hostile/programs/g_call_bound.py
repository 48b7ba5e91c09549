# row: G 10^5 calls at once
# expect: RPC_TIMEOUT
# limits: call=0.2
# red: limit call=5
await mcp.lab.sleep(s=0.6)
