# row: A subclasses
# expect: value ["AttributeError", "AttributeError", "AttributeError", "TypeError", "TypeError"]
# calls: 0
found = []
for act in (lambda: mcp.__reduce_it__, lambda: setattr(mcp, "lab", 1), lambda: mcp.lab.__await__, lambda: mcp[1], lambda: mcp.lab.echo(1)):
    try:
        act()
        found.append("none")
    except Exception as exc:
        found.append(type(exc).__name__)
found
