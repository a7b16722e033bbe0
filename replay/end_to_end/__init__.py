"""A log through a real worker process, from event files to lists.

worker_process    starts, watches and stops `nextclick worker`
certified_lists   the same log gives the same lists, killed or not: `nextclick certify`
demo              trains, serves and replays on an in-process broker: ./deploy/demo
demo_screen       what the demo shows

May import: sending, certificates, datasets.
"""
