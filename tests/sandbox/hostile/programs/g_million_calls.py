# row: G a million calls
# expect: CALL_LIMIT
# calls: 1000
for n in range(10**6):
    try:
        await mcp.lab.echo(n=n)
    except BaseException:
        pass
