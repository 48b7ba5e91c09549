# row: F bad text in prints
# expect: UNKNOWN_TOOL|CAPABILITY_ERROR|PERMISSION_DENIED
# calls: 1
await mcp["lab"]["\x1b[2J\u202e<script>\x00"](x="\x1b]0;owned\x07")
