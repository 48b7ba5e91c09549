# row: C 100 GB file
# keep: yes
# expect: RESULT_LIMIT|CAPABILITY_ERROR|WORKER_CRASH
# limits: wall=10
with open("big", "wb") as file:
    while True:
        file.write(bytes(1 << 20))
