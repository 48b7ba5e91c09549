# row: F bad text in prints
# expect: value 2
x = 1
if x:
    x = 2
x
