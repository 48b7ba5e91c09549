# row: G huge argument
# expect: RPC_ERROR
# limits: answer=100
# red: limit answer=1000
await mcp.lab.answer(bytes=200)
