# row: G huge argument
# expect: VALIDATION_ERROR
# limits: args=10
# args: {"x": "more than ten bytes"}
# red: limit args=1000
args["x"]
