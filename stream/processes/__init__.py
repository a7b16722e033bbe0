"""Several processes as one worker: one command, one supervisor, one port that speaks for all.

children     the settings of each process: its name, state folder and port
supervisor   starts the processes, starts again what crashed, hands signals over
table        what supervisor and processes know of each other, in shared memory
siblings     the first process asks the others by HTTP
combined     their metrics, readiness and status as one
metrics      Prometheus series of the processes

A process is a worker like any other: a member of the group with a store of its own. Only the first one
knows of the others.
May import: access, quality.
"""
