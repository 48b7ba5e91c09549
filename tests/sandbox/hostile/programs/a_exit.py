# row: A reload
# expect: CAPABILITY_ERROR
import sys
sys.exit(0)
