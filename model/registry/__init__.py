"""Model versions on disk, and which of them is champion.

registry         saves, lists, loads and promotes versions
champions        the pointer to the champion, and the champions before it
version_files    verifies every file that it reads of a version; knows no tensor
version_weights  writes a version's files with their hashes; builds the network of verified files
manifest         the shapes of a manifest and of a scores file
weights_head     what a weights file declares of its tensors
bounded_files    reads regular files of bounded size only

May import: training, networks, data.
"""
