# row: H secrets split
# secret: documented
# expect: ok
await mcp.lab.echo(a=args["secret"][:18], b=args["secret"][18:])
