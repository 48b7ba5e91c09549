# row: G patched client
# expect: ok|PROTOCOL_ERROR
mcp._wire._host.step('[[1,"lab","echo","{}",999999]]', 1000)
1
