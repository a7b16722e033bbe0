"""Lists made when they are asked for, from sessions as they stand, in a thread of their own.

query           what was asked, checked; a refusal in three parts
bounded_worker  one thread for such work, and how many may wait for it             thread "asking"
session_output  what the items are scored by: the session's stored state, read out without a step
categories      the items of a category, the popular ones first
arranged        the list that the rules make of candidates, as a wave makes it
list_maker      a session's list of any placement, length and category
published       those of placements that are published after every event           step threads
answers         the list of a session, candidates in order, items similar to one
found_items     items by what people type, of the shop and of the version
titles          items of an answer with their titles
tried           what each rule changes in a list, and why an item is not in it
worded_rules    the rules in words
views           the HTTP views
owners          which worker has which partition, by the group's description       thread "owners"
forwarding      a request asked of the worker that has the session's partition
known_lists     the newest answers, given again while that worker is silent
metrics         Prometheus series of what was asked

A wave never waits for an answer, but for one read of its partition's store.
May import: access, worker, wave, catalogue, sessions, kafka.
"""
