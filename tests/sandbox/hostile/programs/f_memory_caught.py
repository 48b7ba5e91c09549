# row: F growing bytearray
# expect: MEMORY_LIMIT|EXECUTION_TIMEOUT|WORKER_CRASH
# limits: wall=1.5
x = []
while True:
    try:
        while True:
            x.append(bytearray(1 << 16))
    except BaseException:
        pass
