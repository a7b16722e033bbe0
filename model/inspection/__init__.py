"""A model looked into: items by what people type, why an item is listed, similar items.

item_search     items by id or title, and the list after a session of chosen items
leave_one_out   the earlier event that caused an item to be listed
proposals       the sources of a fused list that proposed an item, and by which event
similar_items   the items nearest to a session's hidden state, or to an item

May import: stepping, networks, data.
"""
