# row: H secrets in plain
# secret: plain
# expect: ok
await mcp.lab.echo(password=args["secret"], url=f"https://u:{args['secret']}@x/?token={args['secret']}", note="Authorization: Bearer " + args["secret"])
