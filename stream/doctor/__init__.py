"""The checks of `nextclick doctor`, and what workers serve; they change nothing.

check_result     the result of one check: verdict, text, remedy
broker_checks    brokers, topics, group, lag, clock
machine_checks   this machine: model, device, stores, disk, files, versions
web_checks       who may ask the worker: tokens, names
worker_checks    a running worker: ready, events lost, producers' faults
taken_up         which workers of the group serve a version

May import: access, sessions, kafka.
"""
