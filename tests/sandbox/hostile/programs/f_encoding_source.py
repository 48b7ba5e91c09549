# row: F bad text in prints
# expect: ok|SYNTAX_ERROR
# -*- coding: utf-7 -*-
x = "+AGEAYg-"
x
