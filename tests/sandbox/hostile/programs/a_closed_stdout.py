# row: A replaced stdout
# expect: ok|CAPABILITY_ERROR
import sys
sys.stdout.close()
sys.stderr.close()
print("x")
