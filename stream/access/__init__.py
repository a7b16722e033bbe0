"""Who may ask a worker's web server for what, and over what connection.

grants          roles, and what one who asks may do
key_ring        the keys that sign tokens, read again when their file changes
tokens          tokens made and checked (JSON Web Tokens)
credentials     the token of a request, and what it grants
tls             connections that are encrypted, with certificates that may change
certificates    when certificates end; metrics: the one that the web server shows
pseudonyms      what viewers see in place of session ids
own_requests    requests of this project's own programs to a worker; session_requests: for one open session
clients         who asks, behind proxies as well
watched_files   whether files have changed
refusal_log     which refusals are logged

May import: no other room.
"""
