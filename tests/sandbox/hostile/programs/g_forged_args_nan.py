# row: G frames that break msgpack
# expect: PROTOCOL_ERROR|CAPABILITY_ERROR|RPC_ERROR
# made: 0
import json
mcp._wire._host.step(json.dumps([[1, "lab", "write", '{"x":NaN}', 1]]), 1000)
1 / 0
