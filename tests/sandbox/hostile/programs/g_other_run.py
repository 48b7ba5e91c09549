# row: G answer for another run
# expect: PROTOCOL_ERROR
# made: 0
mcp._wire._host.step('[[1,"lab","write","{}",1,"another run"]]', 1000)
1
