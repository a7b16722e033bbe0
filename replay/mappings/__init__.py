"""Logs of any layout, by a mapping: which column, number or path is the session, the item, the time.

mapped_files    the format of a log whose columns a mapping names
named_columns   columns by name, number or path in a file of any container, whatever they mean
usual_names     columns known by the names that logs usually give them
role_columns    columns named by their roles, as events
event_times     times whose unit is said, or seen
known_mappings  published layouts that a mapping describes: the TOML files of this folder
guess           a mapping guessed from a sample, with its evidence and doubts
topic_guess     the same of the records of a topic, with their keys and times
said_columns    what a person has said of a log before the rest is guessed
nearest_layout  what a log of unknown layout looks like, and the known one nearest to it
log_sample      rows from places spread over a log of unknown layout
header_encoding the encoding in which a header names columns, where it is not UTF-8
role_names      names by which people call columns, and words for kinds
time_guess      the unit or pattern of a column of times
kind_guess      what the values of a column of kinds mean
json_records    records of JSON as rows, also several of one record

May import: reading.
"""
