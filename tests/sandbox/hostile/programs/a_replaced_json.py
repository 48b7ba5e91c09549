# row: A replaced json
# expect: ok|CAPABILITY_ERROR|PROTOCOL_ERROR|RESULT_NOT_JSON
import json
json.dumps = json.loads = lambda *a, **k: '{"forged": true}'
json.JSONEncoder.encode = json.JSONEncoder.iterencode = lambda *a, **k: '"forged"'
json.encoder.encode_basestring = json.encoder.c_make_encoder = None
await mcp.lab.echo(x=1)
