# row: H secrets URL-encoded
# secret: documented
# expect: ok
await mcp.lab.echo(text="".join(f"%{ord(c):02x}" for c in args["secret"]))
