# row: A subclasses
# expect: ok|CAPABILITY_ERROR
# calls: 0
import copy, pickle
str(copy.copy(mcp)), str(copy.deepcopy(mcp.lab))
