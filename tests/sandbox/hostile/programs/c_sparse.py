# row: C sparse file
# keep: yes
# expect: RESULT_LIMIT|CAPABILITY_ERROR|WORKER_CRASH
# limits: wall=10
import time
with open("sparse", "wb") as file:
    file.seek(100 << 30)
    file.write(b"x")
time.sleep(9)
1 / 0
