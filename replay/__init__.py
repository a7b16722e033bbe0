"""The replay tool and the command line: historical logs into Kafka, in event-time order.

console        the terminal: results to stdout, progress and logs to stderr
deploy_files   where the files of deploy/ are, in a checkout and in an installation
standard_streams, outside_errors   output that is closed or full; errors of files and network
reading        packed files as chunks of text columns
datasets       one adapter per published log
item_files     a shop's own files of items, of any layout
sending        a log into Kafka, in order, at a pace
synthetic      shoppers with a known best list
certificates   hashes of what was sent, and their check
dead_letters   rejected events sent again
log_report, cadence, studies, end_to_end   reports and studies
commands       `nextclick X` is commands/X.py

May import: stream, model.
"""
