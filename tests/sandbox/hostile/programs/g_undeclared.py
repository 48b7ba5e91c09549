# row: G tool not granted
# expect: PERMISSION_DENIED
# made: 0
# /// script
# [tool.belljar]
# name = "git:hostile"
# description = "x"
# servers = ["lab"]
# permissions = ["lab:echo"]
# ///
await mcp.lab.write()
