# row: G frames that break msgpack
# expect: ok|RESULT_NOT_JSON
{1: "a", "1": "b", None: "c", True: "d"}
