# row: G look-alike names
# deny: lab:write
# expect: value ["denied"]
# made: 0
import asyncio
names = ["Write", "WRITE", "write ", " write", "wr\u0456te", "write\u200b", "../write", "lab:write", "write\x00", "", "__class__", "%77rite", "write.", "*"]
said = set()
for server in ("lab", "LAB", "lab ", "l\u0430b", "*", "", "lab:write"):
    for name in names:
        try:
            await mcp[server][name]()
            said.add("made")
        except ToolError as exc:
            said.add("denied" if exc.code in ("UNKNOWN_TOOL", "PERMISSION_DENIED") else exc.code)
sorted(said)
