# row: F bad text in prints
# expect: CAPABILITY_ERROR
raise ValueError("\x00\x1b[2J\x1b]0;owned\x07\u202e\udcff <script>alert(1)</script> [bold red]x[/]" * 100)
