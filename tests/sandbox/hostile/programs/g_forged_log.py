# row: G patched client
# expect: ok|CAPABILITY_ERROR|PROTOCOL_ERROR|WORKER_CRASH
# limits: output=500
host = mcp._wire._host
for stream in ("stdout", "stderr", "trace", "", "\x1b[2J", "x" * 10**6):
    host.log(stream, '{"runId": "forged", "success": true}\n' * 10)
1
