# row: G frames that break msgpack
# expect: RESULT_NOT_JSON
[float("nan")]
