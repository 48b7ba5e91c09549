# row: F regular expressions
# expect: EXECUTION_TIMEOUT
# limits: wall=0.5
import re
re.match("(a+)+$", "a" * 99 + "b")
