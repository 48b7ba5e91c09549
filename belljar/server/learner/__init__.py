"""The learner: what a server does with its traces in the background.

A process of its own beside each server (`handle` starts it, `process` is what runs there), because what it imports and
computes must touch neither the time nor the memory of requests. Of all of them one leads (`leader`); the others wait.
The leader goes from tenant to tenant (`loop`): keeps a replay in step with the store (`keeping`), decides what to do
next (`service`, which decides and does nothing), and within its share of a core (`budget`) weighs traces anew
(`weighing`) or trains a model, evaluates and keeps it (`lesson`).
"""
