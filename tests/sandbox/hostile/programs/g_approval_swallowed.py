# row: G tool not granted
# ask: yes
# expect: APPROVAL_REQUIRED
# made: 0
for _ in range(5):
    try:
        await mcp.lab.write()
    except BaseException:
        pass
"went on"
