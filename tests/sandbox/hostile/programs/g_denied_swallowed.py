# row: G tool not granted
# deny: lab:write
# expect: value ["PERMISSION_DENIED", "PERMISSION_DENIED", "PERMISSION_DENIED"]
# calls: 3
# made: 0
said = []
for _ in range(3):
    try:
        await mcp.lab.write()
    except ToolError as exc:
        said.append(exc.code)
said
