# row: F endless loop
# expect: EXECUTION_TIMEOUT
# limits: wall=0.5
while True:
    pass
