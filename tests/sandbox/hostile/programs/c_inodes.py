# row: C inodes
# keep: yes
# expect: RESULT_LIMIT|CAPABILITY_ERROR|WORKER_CRASH
# limits: wall=10
for n in range(10**7):
    open(f"f{n}", "w").close()
