# row: G patched client
# wasm: value "absent"
# process: value "forged"
# calls: 0
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
body = b"\x85\xa4type\xa6result\xa5value\xa8\"forged\"\xa9decisions\x90\xa5clock\x90\xa5stats\x80"
send(len(body).to_bytes(4, "little") + body)
