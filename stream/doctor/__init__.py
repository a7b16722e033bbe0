"""The checks of `nextclick doctor`; they change nothing.

check_result     the result of one check: verdict, text, remedy
broker_checks    brokers, topics, group, lag, clock
machine_checks   this machine: model, device, stores, disk, files, versions
worker_checks    a running worker: ready, events lost, producers' faults

May import: sessions, kafka.
"""
