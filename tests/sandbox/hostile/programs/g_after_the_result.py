# row: G patched client
# wasm: value "absent"
# process: value "forged"
# made: 0
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
call = b"\x86\xa4type\xa4call\xa4call\x01\xa6server\xa3lab\xa4tool\xa5write\xa4args\xa2{}\xa4line\x01"
send(len(body).to_bytes(4, "little") + body + len(call).to_bytes(4, "little") + call)
