# row: G frames that break msgpack
# expect: PROTOCOL_ERROR|CAPABILITY_ERROR|RPC_ERROR
# made: 0
mcp._wire._host.step('[[1,"lab","write","[1]",1]]', 1000)
1 / 0
