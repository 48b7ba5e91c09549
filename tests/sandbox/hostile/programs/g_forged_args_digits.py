# row: G frames that break msgpack
# expect: PROTOCOL_ERROR|CAPABILITY_ERROR|RPC_ERROR
import json
mcp._wire._host.step(json.dumps([[1, "lab", "echo", '{"x":' + "9" * 10_000 + "}", 1]]), 1000)
1 / 0
