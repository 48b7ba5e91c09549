"""The guest: the only code of ours that runs inside a box, on the other side of the border.

It is executed once at build time; the interpreter is snapshotted after it, so what it imports and harvests is already
there, for nothing, in every box. It takes one job, drives an asyncio loop whose only source of events is the host, and
reports the end. It is convenience, not defence: the capability shares its interpreter and may rewrite any of it, so
the host believes nothing it says. Nothing in here imports anything of ours from outside this folder.
"""
