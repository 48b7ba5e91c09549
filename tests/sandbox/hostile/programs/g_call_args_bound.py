# row: G huge argument
# expect: RPC_ERROR
# limits: call_args=100
# red: limit call_args=1000
# made: 0
await mcp.lab.echo(x="y" * 200)
