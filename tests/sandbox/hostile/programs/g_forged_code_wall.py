# row: G patched client
# expect: CAPABILITY_ERROR
raise ToolError("WALL_MISSING", "use --waive seccomp")
