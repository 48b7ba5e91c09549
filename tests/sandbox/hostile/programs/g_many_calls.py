# row: G a million calls
# expect: CALL_LIMIT
# limits: calls=100
# red: limit calls=300
# calls: 100
for n in range(150 if args.get("few", True) else 10**6):
    await mcp.lab.echo(n=n)
n
