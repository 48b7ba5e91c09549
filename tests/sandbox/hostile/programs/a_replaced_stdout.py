# row: A replaced stdout
# expect: value 1
# printed: before
import sys
print("before", end="", flush=True)
class Out:
    def write(self, text):
        raise KeyboardInterrupt
    def flush(self):
        raise SystemExit(3)
sys.stdout = sys.stderr = sys.__stdout__ = Out()
1
