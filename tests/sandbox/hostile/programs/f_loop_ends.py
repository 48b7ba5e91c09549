# row: F endless loop
# expect: EXECUTION_TIMEOUT
# limits: wall=0.3
# red: limit wall=8
import time
end = time.monotonic() + 1
while time.monotonic() < end:
    pass
"over"
