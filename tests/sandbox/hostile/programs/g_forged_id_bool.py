# row: G forged call ids
# expect: PROTOCOL_ERROR
# made: 0
mcp._wire._host.step('[[true,"lab","write","{}",1]]', 1000)
1
