# row: F loop that catches everything
# expect: EXECUTION_TIMEOUT
# limits: wall=0.5
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
