"""How fast the real server is, beside the limit of the machine and beside its peers. `make bench` runs it all.

Nothing in here reaches into the product: it is started by its command line, told by its environment and asked over
HTTP. Only the embedded Postgres and Temporal are taken from `nextfire`.
"""
