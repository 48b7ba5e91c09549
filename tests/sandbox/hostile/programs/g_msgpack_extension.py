# row: G frames that break msgpack
# wasm: value "absent"
# process: PROTOCOL_ERROR
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
send(b"\x03\0\0\0\xd4\x01\x00")
