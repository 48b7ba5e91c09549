# row: F growing bytearray
# expect: MEMORY_LIMIT|WORKER_CRASH
s = "x"
while True:
    s += s
