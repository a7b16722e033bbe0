"""What files lie in, and what their columns lie in.

file_chunks     a file as chunks of text columns, whatever holds them
archives        the files in a zip or a tar archive
text_encodings  UTF-16 as UTF-8, lines that end in carriage returns
columnar        Parquet, Arrow and ORC files as chunks of text columns, also by paths
column_batches  the same files as record batches, in bounded memory
"""
