"""The HTTP API of a worker and its page.

routes         every route in one table; how to add one
server, guard, rate_limit   who is answered: connections, names, methods, requests a second
status         /metrics, /health, /ready, /api/status, /api/quality
session        one open session
api            items, why, models, events in; what is asked for a session goes to stream.asking
items, models  what api shows of the version in service and of the registry
posted_events, list_waiter   an event into Kafka, and its list back out of Kafka
page, static_files           the page and its files (static/)
snapshot, chart_points, recent_lists, broker_probe   what the page shows each second

May import: access, asking, processes, worker, wave, quality, sessions, kafka.
"""
