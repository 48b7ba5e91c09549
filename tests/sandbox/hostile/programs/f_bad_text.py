# row: F bad text in prints
# expect: value 1
import sys
print("\x00\x1b[2J\x1b]0;owned\x07\u202e\u2066\x9b31m\udcff\ufeff\r\n\x08\x7f", flush=True)
sys.stderr.write("\udc80\x1b]8;;http://x\x1b\\")
getattr(sys.stdout, "buffer", sys.stdout)
1
