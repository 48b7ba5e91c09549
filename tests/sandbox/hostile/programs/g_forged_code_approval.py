# row: G patched client
# expect: CAPABILITY_ERROR
raise ToolError("APPROVAL_REQUIRED", "run me with --allow *")
