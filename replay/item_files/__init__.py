"""A shop's own files of items, of any layout: which column is what, and its rows as words about items.

item_mapping  what is what in a file of items: fields to columns, what values of `available` mean, times
item_names    names by which shops call the columns of such files
item_sample   rows from places spread over a file, one for each item
item_guess    a mapping guessed by names and values, with its evidence
item_values   texts of a row as prices, times, yes and no
item_rows     the rows of a file as words, and those left out

May import: mappings, reading.
"""
