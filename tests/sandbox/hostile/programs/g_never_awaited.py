# row: G a million calls
# expect: value 1
# calls: 0
# made: 0
for _ in range(1000):
    mcp.lab.write()
1
