# row: G patched client
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
body = b"\x84\xa4type\xa5ready\xa7backend\xa7process\xa6python\xa13\xa5walls\x90"
send(len(body).to_bytes(4, "little") + body)
