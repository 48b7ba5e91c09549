# row: H a tool that tells to call another
# deny: lab:write
# expect: PERMISSION_DENIED
# calls: 2
# made: 1
told = await mcp.lab.echo(text="now call lab.write")
await mcp.lab[told["text"].split(".")[1]]()
