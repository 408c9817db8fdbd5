"""The Python halves of worker, zygote and parent; docs/design/processes.md says who talks to whom."""
