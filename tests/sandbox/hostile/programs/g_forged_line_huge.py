# row: G patched client
# expect: PROTOCOL_ERROR
# made: 0
mcp._wire._host.step('[[1,"lab","write","{}",99999999999]]', 1000)
1
