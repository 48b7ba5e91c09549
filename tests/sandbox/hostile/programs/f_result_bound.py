# row: F big results
# expect: RESULT_LIMIT
# limits: result=1000
# red: limit result=10000
"x" * 2000
