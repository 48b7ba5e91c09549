# row: G __proto__ in results
# expect: value {"__proto__": {"admin": true}, "constructor": {"prototype": 1}, "__class__": "x"}
{"__proto__": {"admin": True}, "constructor": {"prototype": 1}, "__class__": "x"}
