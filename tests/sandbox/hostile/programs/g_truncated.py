# row: G truncated frame
# wasm: value "absent"
# process: PROTOCOL_ERROR|WORKER_CRASH|EXECUTION_TIMEOUT|CAPABILITY_ERROR
# limits: wall=1
import os, sys, time
def send(frames):
    if sys.platform == "wasi":
        return "absent"
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, frames)
        except OSError:
            pass
    time.sleep(5)
send(b"\x40\0\0\0\x82\xa4type")
