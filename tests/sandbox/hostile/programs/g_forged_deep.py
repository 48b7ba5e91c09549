# row: G frames that break msgpack
# expect: PROTOCOL_ERROR|CAPABILITY_ERROR|WORKER_CRASH|RPC_ERROR
# made: 0
mcp._wire._host.step('[[1,"lab","write",' + "[" * 10**5 + "]" * 10**5 + ',1]]', 1000)
1 / 0
