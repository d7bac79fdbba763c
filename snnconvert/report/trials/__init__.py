"""The same network again, with other inputs or options, to see what changes."""
