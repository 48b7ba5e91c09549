# row: F growing bytearray
# expect: MEMORY_LIMIT
x = bytearray()
while True:
    x += bytes(1 << 20)
