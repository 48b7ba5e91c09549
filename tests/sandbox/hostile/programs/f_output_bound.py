# row: F endless prints
# expect: value 1
# limits: output=100
# output: 100
# red: limit output=10000
print("x" * 5000)
1
