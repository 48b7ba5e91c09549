# row: F deepcopy of cycles
# expect: RESULT_NOT_JSON
x = []
x.append(x)
x
