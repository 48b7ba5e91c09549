# row: G huge argument
# expect: MEMORY_LIMIT
# made: 0
await mcp.lab.write(x="y" * (1 << 30))
