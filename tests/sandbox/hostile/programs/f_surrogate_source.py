# row: F bad text in prints
# expect: VALIDATION_ERROR|SYNTAX_ERROR
"í €"
