// Package many holds tests of large numbers against the real binary: queues, segments, messages. What they cost in memory, open files,
// mappings and time must not grow with them, or only as the targets say. Row 10 in docs/reliability.md, and W5 in docs/performance.md.
package many
