# row: G forged call ids
# expect: PROTOCOL_ERROR
import json
host = mcp._wire._host
host.step(json.dumps([[1, "lab", "echo", "{}", 1]]), 1000)
host.step(json.dumps([[1, "lab", "write", "{}", 1]]), 1000)
