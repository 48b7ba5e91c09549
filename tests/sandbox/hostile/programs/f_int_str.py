# row: F quadratic conversions
# expect: EXECUTION_TIMEOUT|CAPABILITY_ERROR
# limits: wall=0.5
import sys
sys.set_int_max_str_digits(0)
len(str(1 << 30_000_000))
