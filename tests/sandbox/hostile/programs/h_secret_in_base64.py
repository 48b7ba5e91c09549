# row: H secrets in base64
# secret: documented
# expect: ok
import base64
await mcp.lab.echo(text=base64.b64encode(args["secret"].encode()).decode())
