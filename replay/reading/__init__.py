"""Packed files as chunks of text columns, in bounded memory.

format         what an adapter is: Format, Chunk, Converted; conversions of text columns
fixed_times    times as texts of a fixed width, by columns of digits
repeats        rows that repeat an earlier row
times          the unit of a column of times, and its texts in milliseconds
time_evidence  which unit or pattern a sample of times shows
time_sample    the unit of a file's times, seen in its first lines
values         missing words, ids written as floats, prices
account        what became of every line of a file
spool          a pipe as a file that can be read again
packed_files   decompression and whole lines; whether a file is cut off
whole_records  blocks of whole records for the CSV reader, every line counted
quotes         the same of files with quotes; a quote that is not closed costs one line
records        the line number and the text of a record
delimited      CSV and other delimited files
lines          one record per line (JSON), parsed by the format
containers     what files and columns lie in: archives, encodings, Parquet, Arrow, ORC
time_order     whether a file's times ascend, judged by their texts alone

May import: no room of replay.
"""
