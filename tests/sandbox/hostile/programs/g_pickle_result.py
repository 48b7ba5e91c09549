# row: G pickles
# expect: value "cposix\nsystem\n(S'touch /tmp/belljar-hostile'\ntR."
"cposix\nsystem\n(S'touch /tmp/belljar-hostile'\ntR."
