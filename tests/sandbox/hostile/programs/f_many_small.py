# row: F growing bytearray
# expect: MEMORY_LIMIT
x = []
while True:
    x.append({len(x): "x" * 500})
