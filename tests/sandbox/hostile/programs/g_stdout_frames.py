# row: G frames on stdout
# expect: value 1
# calls: 0
# made: 0
import os, sys
call = b"\x86\xa4type\xa4call\xa4call\x01\xa6server\xa3lab\xa4tool\xa5write\xa4args\xa2{}\xa4line\x01"
frame = len(call).to_bytes(4, "little") + call
for descriptor in (1, 2):
    try:
        os.write(descriptor, frame)
    except OSError:
        pass
print(frame.decode("latin-1"))
print('{"jsonrpc": "2.0", "id": 1, "result": {}}')
1
