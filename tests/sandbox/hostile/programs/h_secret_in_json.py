# row: H secrets in JSON in strings
# secret: plain
# expect: ok
import json
await mcp.lab.echo(text=json.dumps({"deep": json.dumps({"token": args["secret"]})}))
