"""Event logs as frames of events: one adapter per published format.

event_files     the files of a log as event frames, bounded chunks or all at once
readable_events the events of a chunk that can be read
detection       the table of formats, and which of them a file has
event_filter    which events are wanted: by kind and by category
item_metadata   titles, brands, categories and prices, joined by item id
amazon, amazon_metadata, diginetica, globo, lastfm, mind, mkechinov, movielens, online_retail,
retailrocket, rsc15, thirty_music, trivago  one published dataset each

May import: mappings, reading. To add a dataset: 1. write `NAME.py` with `convert(chunk) -> Converted`;
2. describe its files there by a `Format`; 3. add the format to the table in `detection`;
4. test it in tests/unit/replay/datasets/test_published_formats.py; 5. list it in deploy/docs/models.md.
"""
