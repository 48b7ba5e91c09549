# row: B threads
# wasm: value 0
# process: ok
# limits: wall=5
import threading
threading.stack_size(32768)
started, stop = 0, threading.Event()
try:
    for _ in range(10**5):
        threading.Thread(target=stop.wait, daemon=True).start()
        started += 1
except RuntimeError:
    pass
stop.set()
assert started < 1000
started
