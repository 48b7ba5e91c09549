# row: F bad text in prints
# expect: value "admin"
# ‮ reversed ⁦ comment
level = "admin"  # ⁩⁦ if not admin
level
