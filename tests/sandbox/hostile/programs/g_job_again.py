# row: G answer for another run
# expect: WORKER_CRASH|CAPABILITY_ERROR|PROTOCOL_ERROR|EXECUTION_TIMEOUT
# limits: wall=0.7
mcp._wire._host.job()
1 / 0
