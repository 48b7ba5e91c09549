# row: G huge argument
# expect: value "RPC_ERROR"
# made: 0
try:
    await mcp.lab.write(x="y" * (20 << 20))
    said = "made"
except ToolError as exc:
    said = exc.code
said
