"""Logs of any layout, by a mapping: which column, number or path is the session, the item, the time.

mapped_files    the format of a file whose columns a mapping names
usual_names     columns known by the names that logs usually give them
role_columns    columns named by their roles, as events
event_times     times whose unit is said, or seen
known_mappings  published layouts that a mapping describes: the TOML files of this folder
json_records    records of JSON as rows, also several of one record

May import: reading.
"""
