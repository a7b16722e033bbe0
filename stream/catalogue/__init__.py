"""What the shop says of its items and what users bought, as tables, and which items may be listed.

item_word       one record of `items`: read, checked, written
item_table      the newest word about each item, in columns: 1,000,000 items in under 400 MB
packed_texts    titles and attributes, one after the other in blocks
item_titles     titles as the shop says them now, else as a version learned them
word_search     items by words of title, brand and category
catalogue       the table, and who is told when an item may be listed no more, or again
rules           what may be listed, for whom, in which order: a file of TOML
rule_parts      each single rule in words, and what would hold without it
needed_topics   topics without which some rules cannot be followed
rules_file      follows that file without a restart                thread "rules"
items_reader    reads `items` from its beginning, then follows it      thread "items"
items_topic     the topic, for commands: acknowledged words, the word about one item
purchases       what each user has bought, in whichever session
purchases_reader, purchases_topic   the same of `nextclick-purchases`            thread "purchases"
sources         all of this for a worker: read, then followed
metrics         Prometheus series of the items

Knows no model: versions obey it through stream.wave.listable_items.
May import: kafka.
"""
