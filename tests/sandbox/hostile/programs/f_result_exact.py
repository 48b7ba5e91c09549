# row: F big results
# expect: ok
# limits: result=1000
"x" * 998
