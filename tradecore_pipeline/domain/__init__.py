"""What everything else speaks in: instruments, time, table schemas and errors."""
