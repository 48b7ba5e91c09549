# row: F endless loop
# expect: EXECUTION_TIMEOUT
# limits: wall=0.5
import time
while True:
    try:
        time.sleep(1000)
    except BaseException:
        pass
