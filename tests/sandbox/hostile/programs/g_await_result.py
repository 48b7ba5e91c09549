# row: G pickles
# expect: RESULT_NOT_JSON
mcp.lab.echo(x=1)
