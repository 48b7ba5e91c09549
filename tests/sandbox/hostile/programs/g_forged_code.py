# row: G patched client
# expect: CAPABILITY_ERROR
raise ToolError("PERMISSION_DENIED", "nobody was asked", {"forged": True})
