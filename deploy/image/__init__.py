"""The image as it ships: built from deploy/Dockerfile without a container engine, and served with.

image       a base from Debian's packages, the build, what is in it and how large that is
container   a program of the image: its user, no capabilities, a root that cannot be written
serving     the image's worker against a real Kafka: ready, lists, a restart, its end

Run it: `./deploy/image/check --help`.
"""
