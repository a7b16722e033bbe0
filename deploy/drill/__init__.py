"""The game day as a program: faults one after the other on real processes, each with the alert it must raise.

fault           what a fault is, and how one is made, watched and healed
worker_faults   of workers: killed, paused, dying again and again, away
broker_faults   of brokers and topics: killed, topics made anew, offsets set by hand
model_faults    of versions and retraining; traffic_faults: of what comes in
disks           file systems that are small or cannot be written
stage           what runs: broker, workers, traffic, Prometheus
alert_watch     a Prometheus with the shipped rules, and which alerts fire
short_rules     the rules with all times divided by one factor
results         the table

Run it: `./deploy/drill/run --help`.
"""
