# row: F big results
# expect: RESULT_NOT_JSON|PROTOCOL_ERROR|CAPABILITY_ERROR|RESULT_LIMIT
x = []
for _ in range(500):
    x = [x]
x
